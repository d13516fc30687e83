"""What a request is and may be: its fields, limits and states. Needs no framework, database or clock."""
