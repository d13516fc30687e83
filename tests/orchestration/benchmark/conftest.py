"""A benchmark makes databases, schemas and tables of its own, as the application may not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import in_process
from tests.database_roles import SUPERUSER


@pytest.fixture(autouse=True)
def as_somebody_who_may(request: pytest.FixtureRequest) -> Iterator[None]:
    if "stack" not in request.fixturenames:
        yield
        return
    with in_process.acting_as(SUPERUSER, request.getfixturevalue("stack")):
        yield
