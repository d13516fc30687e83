"""The built-in agents command, http, email and person; importing this registers them.

An app registers agents of its own in its module `orchestrations`, by `@agent` of orchestration.
"""

from orchestration.agents import command, email, http, person

__all__ = ["command", "email", "http", "person"]
