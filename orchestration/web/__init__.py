"""Runs over HTTP and WebSockets: their pages, their live updates, their part of the API."""
