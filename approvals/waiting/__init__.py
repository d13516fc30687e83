"""Waiting for outcomes: who waits, what wakes them, and what makes up for lost hints."""
