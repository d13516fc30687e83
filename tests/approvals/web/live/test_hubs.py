"""The regular checks of connections: everybody's, and a few at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar
from uuid import UUID

import pytest

from approvals.web.live import hubs
from approvals.web.live.hubs import Hub, Seat
from approvals.web.live.send_queue import Outbox
from tests.looking import until

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]


class Checking(Hub[Seat]):
    """Records whom it checks."""

    topic: ClassVar[str] = "requests"
    refreshed_at_once: ClassVar[int] = 32

    def __init__(self) -> None:
        super().__init__()
        self.checked = Counter[Seat]()
        self.largest = 0

    async def _tell_of(self, ids: frozenset[UUID]) -> None:
        pass

    async def _tell(self, seats: Sequence[Seat]) -> None:
        pass

    async def _check(self, seats: Sequence[Seat]) -> None:
        self.checked.update(seats)
        self.largest = max(self.largest, len(seats))

    @property
    def serving(self) -> bool:
        return self._task is not None


async def test_everybody_is_checked_again_and_again_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "CHECK_INTERVAL", 0.05)
    hub = Checking()
    seats = [Seat(Outbox(send), f"session {number}") for number in range(200)]
    for seat in seats:
        hub.join(seat)
    await until(lambda: all(hub.checked[seat] >= 3 for seat in seats))
    assert max(hub.checked.values()) - min(hub.checked.values()) <= 1
    for seat in seats:
        hub.leave(seat)
    await until(lambda: not hub.serving)
    assert hub.largest < len(seats)


async def send(message: Mapping[str, object]) -> None:
    raise AssertionError(message)
