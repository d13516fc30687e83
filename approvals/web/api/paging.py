"""Pages of lists that grow while they are read: a cursor names the last row that was seen, no number of rows.

The lists are ordered by a moment and an id, newest first; what comes in meanwhile is before the first page.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID

from approvals.exceptions import InvalidRequest

DEFAULT_LIMIT = 50
LIMIT = 200

# Where a row stands: behind it are those that are older, and of the same moment those of lower ids.
Place: TypeAlias = tuple[datetime, UUID]


def place_of(cursor: str | None) -> Place | None:
    """Return the place that the cursor names, None for the start; InvalidRequest for an unknown cursor."""
    if cursor is None:
        return None
    padding = "=" * (-len(cursor) % 4)
    try:
        text = base64.b64decode(cursor + padding, altchars=b"-_", validate=True).decode()
        at, _, row_id = text.partition(" ")
        place = datetime.fromisoformat(at).astimezone(UTC), UUID(row_id)
        if _cursor(place) == cursor:
            return place
    except (ValueError, OverflowError):
        pass
    raise InvalidRequest("cursor must be one that this list gave.", field="cursor")


def cursor_after(rows: Sequence[Any], more: bool, moment: str) -> str | None:
    """Return the cursor of the next page of rows, newest first by `moment`; None if there is none."""
    return _cursor((getattr(rows[-1], moment), rows[-1].pk)) if more else None


def _cursor(place: Place) -> str:
    at, row_id = place
    text = f"{at.astimezone(UTC).isoformat()} {row_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
