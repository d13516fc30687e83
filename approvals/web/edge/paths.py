"""The path of a request, before Django has seen it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def own_path(scope: Mapping[str, Any]) -> str:
    """As this installation's own addresses have it, without the prefix that a proxy serves it below."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
