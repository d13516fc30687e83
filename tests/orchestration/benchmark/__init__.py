"""Of the benchmark: its own processes, and each scenario as a real command."""
