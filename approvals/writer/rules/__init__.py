"""What each command does to its request, in memory: a module of rules for each group of commands.

Permission is tested before state, state before content. Every rule returns the outcome that is then on
record, or the refusal; none raises for a refused command.
"""
