"""Agents that come with Sayso: command, http, email and person. Importing this registers them."""

from orchestration.agents import command, email, http, person

__all__ = ["command", "email", "http", "person"]
