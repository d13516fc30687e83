"""Tell pages that list runs which of them are new, or in another state. The server renders the list.

A connection is told of runs that its user may see at that moment, by their ids; without ids, that any may
have changed. What else happens in a run, its list does not show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar
from uuid import UUID

from approvals.database.threads import in_database
from approvals.process.loops import PerLoop
from approvals.web.edge.credentials import Credential, owners
from approvals.web.live.hubs import Hub, Seat
from approvals.web.live.protocol import ServerMessage, encode
from orchestration.web import run_reads

# States that are remembered; then they are forgotten, and told once more.
REMEMBERED = 10_000


class RunsChanged(ServerMessage, type="runs_changed"):
    """These runs are new or in another state; empty: any may be."""

    ids: list[str]


class RunListHub(Hub[Seat]):
    topic: ClassVar[str] = "runs"
    refreshed_at_once: ClassVar[int] = 100

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[UUID, str] = {}

    async def _tell_of(self, ids: frozenset[UUID]) -> None:
        seats = list(self._seats)
        read = await in_database(run_reads.states, {seat.credential for seat in seats}, ids)
        news = self._remember(read.states)
        for seat in seats:
            if seat in self._seats and self._holds(seat, read.owners):
                seen = news & read.visible.get(read.owners[seat.credential], set())
                self._send(seat, seen)

    async def _tell(self, seats: Sequence[Seat]) -> None:
        await self._check(seats)
        for seat in seats:
            if seat in self._seats:
                self._send(seat, None)

    async def _check(self, seats: Sequence[Seat]) -> None:
        present = await in_database(owners, {seat.credential for seat in seats})
        for seat in seats:
            self._holds(seat, present)

    def _holds(self, seat: Seat, present: Mapping[Credential, int]) -> bool:
        """Expel the seat if its credential does not hold any more."""
        owner = present.get(seat.credential)
        if seat.holds(owner):
            seat.user_id = owner
            return True
        self._expel(seat)
        return False

    def _remember(self, states: Mapping[UUID, str]) -> set[UUID]:
        """Return the runs whose state is another one than was told."""
        news = {run_id for run_id, state in states.items() if self._told.get(run_id) != state}
        if len(self._told) > REMEMBERED:
            self._told.clear()
        self._told.update(states)
        return news

    def _send(self, seat: Seat, ids: set[UUID] | None) -> None:
        """Send these ids, if there are any; None: any run may have changed.

        A slow reader is told the latter, once it has read what waits.
        """
        if ids == set():
            return
        if not seat.outbox.tell(encode(RunsChanged(ids=sorted(map(str, ids or ()))))):
            seat.outbox.when_drained(lambda: self.refresh([seat]))


# The process's hub, on the running event loop.
run_list_hub = PerLoop(RunListHub)
