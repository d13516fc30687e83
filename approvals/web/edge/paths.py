"""The path of a request, before Django has seen it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def own_path(scope: Mapping[str, Any]) -> str:
    """Return the path without the prefix below which a proxy serves this installation."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
