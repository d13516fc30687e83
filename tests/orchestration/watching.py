"""Follow a run by what its watchers are told: no test polls or sleeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any
from uuid import UUID

from approvals.database.threads import in_database
from approvals.waiting.waiting_room import waiting_room
from orchestration.engines.local import LocalHost
from orchestration.manager import OrchestrationManager, RunEvent
from orchestration.runs import journal
from tests import looking


async def until(run_id: UUID, wanted: Callable[[RunEvent], bool]) -> dict[str, Any]:
    """The data of the first event that is wanted."""
    async with aclosing(OrchestrationManager().watch(run_id)) as events:
        async for event in events:
            if wanted(event):
                return event.data
    raise AssertionError("the run ended without what was waited for")


async def finished(run_id: UUID) -> dict[str, Any]:
    """The run, once it has ended."""
    run: dict[str, Any] = (await until(run_id, lambda event: event.type == "run_finished"))["run"]
    return run


async def asked(run_id: UUID, title: str | None = None) -> dict[str, Any]:
    """The request with this title (or the next one), once it is open."""

    def is_it(event: RunEvent) -> bool:
        if event.type != "request_opened" or event.data["request"]["status"] != "pending":
            return False
        return title is None or event.data["request"]["title"] == title

    request: dict[str, Any] = (await until(run_id, is_it))["request"]
    return request


async def until_recorded(is_so: Callable[[], bool]) -> None:
    """Return once `is_so`, asked of the database whenever a run has changed."""
    follower = _Follower()
    waiting_room().follow(journal.TOPIC, follower)
    try:
        while not await in_database(is_so):
            await follower.changed.wait()
            follower.changed.clear()
    finally:
        waiting_room().unfollow(journal.TOPIC, follower)


async def idle(engine: LocalHost) -> None:
    """Return once the engine executes nothing."""
    await looking.until(lambda: not engine.run_ids)


class _Follower:
    """Woken on the room's loop, which under test is the test's."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    async def look(self, ids: frozenset[UUID]) -> None:
        self.changed.set()

    async def look_everywhere(self) -> None:
        self.changed.set()
