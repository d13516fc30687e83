"""Everything between the rows and the rest: statements, threads, the clock, fields and triggers."""
