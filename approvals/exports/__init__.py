"""Exports: the trail, or a part of it, in a file that can be verified without this installation."""
