"""The role of who decides: with what a server's process has; and, to compare, in the raw tables."""

from __future__ import annotations

from approvals import deciding
from approvals.database.threads import in_database
from approvals.waiting.room import waiting_room
from orchestration.benchmark import raw, records, stopwatch
from orchestration.benchmark.roles import Role


class Decider(Role):
    """Knows when what it decided was committed, and what is on record."""

    async def begin(self) -> None:
        await waiting_room().start()  # every server has one; it passes the hints on
        self.actor = await in_database(records.decider)
        self.commits = stopwatch.note_commits()
        self.store = raw.store()
        self.publish = raw.publisher()

    async def end(self) -> None:
        self.store.close()
        await waiting_room().stop()

    async def prepare(self, count: int) -> list[str]:
        """Make the raw tables, with so many rows to decide."""
        self.store.create()
        return self.store.open(count)

    async def decide_all(self, ids: list[str]) -> None:
        """At once."""
        await deciding.adecide_many(self.actor, [(id_, "approve") for id_ in ids])

    async def recorded(self, ids: list[str]) -> dict[str, str]:
        return await in_database(records.recorded, ids)

    async def recorded_raw(self, ids: list[str]) -> dict[str, str]:
        return self.store.statuses(ids)
