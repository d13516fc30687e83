"""Imported by the parent of all forked test processes, and by nothing else: see tests/prepared.py."""

from tests.prepared import preload

preload()
