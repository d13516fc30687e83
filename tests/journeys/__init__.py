"""Whole journeys: real processes, a real terminal, a real browser."""
