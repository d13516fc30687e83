"""Faults, injected for real: what must hold is checked from outside, against what everybody was told."""
