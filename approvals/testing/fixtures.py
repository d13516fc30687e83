"""Fixtures for pytest with pytest-django: `pytest_plugins = ["approvals.testing.fixtures"]`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from approvals import testing
from approvals.testing.isolation import isolated


class Sayso:
    """What a test does in the place of people: the functions of `approvals.testing`."""

    pending = staticmethod(testing.pending)
    decide = staticmethod(testing.decide)
    answer = staticmethod(testing.answer)
    move_time = staticmethod(testing.move_time)
    apending = staticmethod(testing.apending)
    adecide = staticmethod(testing.adecide)
    aanswer = staticmethod(testing.aanswer)
    amove_time = staticmethod(testing.amove_time)


@pytest.fixture
def sayso(db: None) -> Iterator[Sayso]:
    """Let the test ask people, with pytest-django's `db` or `transactional_db`, and decide itself."""
    with isolated():
        yield Sayso()
