"""The built-in agents command, http, email and person; importing this registers them."""

from orchestration.agents import command, email, http, person

__all__ = ["command", "email", "http", "person"]
