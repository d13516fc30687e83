"""Markdown from untrusted authors as sanitised HTML. The result is a plain str: callers mark it safe."""
