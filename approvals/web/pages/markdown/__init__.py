"""Details written by strangers, as HTML that is safe to put into a page. Pure: callers mark it safe."""

from __future__ import annotations

from approvals.web.pages.markdown.cache import render

__all__ = ["render"]
