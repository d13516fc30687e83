"""The management commands, and what they share: who runs them, the terminal, exit codes."""
