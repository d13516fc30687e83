"""Live updates over WebSockets: `protocol` has the messages, and what they tell of a request."""
