"""Pages of lists that grow while they are read: a cursor names the last row that was seen, no number of rows.

The lists are ordered by a moment and an id, newest first; what comes in meanwhile is before the first page.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from approvals.exceptions import InvalidRequest

DEFAULT_LIMIT = 50
LIMIT = 200
LONGEST_CURSOR = 200

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a row stands: behind it are those that are older, and of the same moment those of lower ids."""

    at: datetime
    id: UUID


def place_of(cursor: str | None) -> Place | None:
    """Return the place that the cursor names, None for the start; InvalidRequest for an unknown cursor."""
    if cursor is None:
        return None
    try:
        at, _, row_id = _text(cursor).partition(" ")
        place = Place(at=datetime.fromisoformat(at).astimezone(UTC), id=UUID(row_id))
        if _cursor(place) == cursor:
            return place
    except (ValueError, OverflowError):
        pass
    raise InvalidRequest("cursor must be one that this list gave.", field="cursor")


def cursor_after(rows: Sequence[Row], more: bool, place: Callable[[Row], Place]) -> str | None:
    """Return the cursor of the next page; None if there is none."""
    return _cursor(place(rows[-1])) if more else None


def _cursor(place: Place) -> str:
    text = f"{place.at.astimezone(UTC).isoformat()} {place.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _text(cursor: str) -> str:
    if len(cursor) > LONGEST_CURSOR:
        raise ValueError("too long")
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except binascii.Error as error:
        raise ValueError("not base64") from error
