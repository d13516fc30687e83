"""The part of the HTTP API that starts, shows and ends runs."""
