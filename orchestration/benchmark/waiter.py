"""The role of who waits: for Sayso's requests in this process's waiting room, as any program would."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic_ns

from approvals.database import in_database
from approvals.exceptions import StillPending
from approvals.gate import wait_for_outcome
from approvals.waiting.room import waiting_room
from orchestration.benchmark import records
from orchestration.benchmark.roles import Role

# Seconds after the last decision until a wait that nobody has ended counts as lost.
PATIENCE = 60.0


class Waiter(Role):
    """Waits, and keeps what each wait was told and when."""

    def __init__(self) -> None:
        self.resumed: dict[str, int] = {}
        self._told: list[tuple[str, str]] = []
        self._waits: dict[str, asyncio.Task[None]] = {}

    async def begin(self) -> None:
        await waiting_room().start()

    async def end(self) -> None:
        for wait in self._waits.values():
            wait.cancel()
        await asyncio.gather(*self._waits.values(), return_exceptions=True)
        await waiting_room().stop()

    async def open(self, count: int) -> list[str]:
        """Put requests on record that nobody waits for yet."""
        return [str(id_) for id_ in await in_database(records.open_requests, count)]

    async def wait(self, ids: list[str]) -> None:
        """Begin to wait for each; returns when all of these waits are in the waiting room."""
        room = waiting_room()
        wanted = len(room) + len(ids)
        for id_ in ids:
            self._waits[id_] = asyncio.create_task(self._wait(id_))
        while len(room) < wanted:  # noqa: ASYNC110  the room tells nobody who has come
            await asyncio.sleep(0)

    async def told(self, ids: list[str]) -> list[tuple[str, str]]:
        """What every wait so far was told, (id, status), once those for `ids` are over or lost."""
        waits = [self._waits[id_] for id_ in ids]
        if waits:
            await asyncio.wait(waits, timeout=PATIENCE)
        return self._told

    async def _wait(self, id_: str) -> None:
        with suppress(StillPending):
            outcome = await wait_for_outcome(id_)
            self.resumed[id_] = monotonic_ns()
            self._told.append((id_, outcome.status))
