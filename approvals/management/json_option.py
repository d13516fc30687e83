"""Parse JSON given on the command line, as text or as @file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from approvals.management.screen import Misuse


def parse_json(text: str, name: str) -> Any:
    """Parse the value of option `name`; `Misuse` says where the JSON is invalid, or which file is missing."""
    source = "in the command line"
    if text.startswith("@"):
        source = f"in {text[1:]}"
        text = _read_file(text[1:], name)
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise Misuse(
            f"{name} is not JSON: {error.msg}, line {error.lineno}, column {error.colno} {source}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise Misuse(f"{name} is not JSON: {error}") from error


def parse_json_object(text: str, name: str) -> dict[str, Any]:
    """Parse the value of option `name`, which must be a JSON object; `Misuse` otherwise."""
    value = parse_json(text, name)
    if not isinstance(value, dict):
        raise Misuse(f'{name} must be a JSON object, such as {{"directory": "/tmp"}}.')
    return value


def _read_file(path: str, name: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise Misuse(f"{name}: cannot read {path!r}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Misuse(f"{name}: {path!r} is not UTF-8 text.") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number.")
