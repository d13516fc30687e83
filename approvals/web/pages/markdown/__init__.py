"""Markdown from untrusted authors as sanitised HTML. The result is a plain str: callers mark it safe."""

from __future__ import annotations

from approvals.web.pages.markdown.cache import render

__all__ = ["render"]
