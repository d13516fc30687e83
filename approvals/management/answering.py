"""What a person typed, as the answer that a request expects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from approvals.management.json_option import json_from


def answer_from(text: str, request: Mapping[str, Any]) -> Any:
    """The answer in `text`; whether it fits choices or schema is for the writer's own check to say."""
    if request["schema"] is not None:
        return _structured(text, request["schema"])
    if request["choices"] is not None and request["multiple"]:
        return _several(text)
    return text


def _structured(text: str, schema: Mapping[str, Any] | bool) -> Any:
    if isinstance(schema, Mapping) and schema.get("type") == "string" and not text.startswith(("@", '"')):
        return text
    return json_from(text, "TEXT")


def _several(text: str) -> list[Any]:
    """A JSON array, or else one choice."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return [text]
    return value if isinstance(value, list) else [text]
