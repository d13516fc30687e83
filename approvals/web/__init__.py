"""The ways in over HTTP and WebSockets: the API for programs, pages for people, live updates."""
