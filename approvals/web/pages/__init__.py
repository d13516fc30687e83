"""The inbox, the pages of requests, their forms, and what they show."""
