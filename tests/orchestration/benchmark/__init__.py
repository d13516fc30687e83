"""Of the benchmark: its own parts, and each scenario as a real command."""
