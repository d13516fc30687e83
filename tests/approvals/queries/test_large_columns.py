"""Large columns of requests are read only where they are wanted, and at the price of one copy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from approvals import queries
from tests import factories as make

pytestmark = pytest.mark.django_db

LARGE = "x" * 10_000


@pytest.fixture
def measured() -> Iterator[list[bytes]]:
    """The values whose bytes SQLite has computed so far, each time it did."""
    values: list[bytes] = []

    def length(value: Any) -> int | None:
        if value is None:
            return None
        values.append(value)
        return len(value)

    connection.ensure_connection()
    connection.connection.create_function("length", 1, length)
    yield values
    connection.connection.create_function("length", 1, None)


@pytest.mark.stacks("sqlite-memory")
@pytest.mark.parametrize("limit", [100, 100_000])
def test_sqlite_computes_the_bytes_of_a_large_column_once(measured: list[bytes], limit: int) -> None:
    """It copies the column for it, and keeps each copy until it has read the request."""
    asked = make.clarification(default=LARGE, context="Said before.")
    (row,) = queries.ask_for_rows([queries.as_id(asked)])()
    measured.clear()
    queries.load_large([row], limit)
    assert [value for value in measured if len(value) > len(LARGE)] == [f'"{LARGE}"'.encode()]
    assert (row.default, row.context) == ((LARGE, "Said before.") if limit > len(LARGE) else (None, None))
    assert (row.asked_whole, row.outcome_whole) == (limit > len(LARGE), True)
