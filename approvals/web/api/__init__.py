"""The HTTP API: its endpoints, the bodies they take, and the JSON they answer with."""
