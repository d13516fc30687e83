"""Live updates over WebSockets: `protocol` has the messages, `summaries` what they tell of a request."""
