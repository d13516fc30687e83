"""Orchestrations that are useful as they stand, and short enough to learn from."""
