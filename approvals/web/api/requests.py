"""Requests over HTTP: ask, look, wait, decide."""

from __future__ import annotations

from ninja import Router

router = Router()
