"""The re-check finds changes whose hints were lost, by one query a topic at a slow interval.

It reads what has changed since the last check, by the database's clock. A transaction that began before that
check may commit after it, so each query reaches back: usually a little, and twice within each
`recheck_overlap` (longer than any transaction may last) by all of it. What was reported in this version is
not reported again. Whatever the re-check misses, the full re-read finds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from approvals.conf import approval_settings
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.waiting.outages import Outage
from approvals.waiting.timer import Timer

USUAL_REACH = timedelta(seconds=5)

# Given a moment, returns the ids that have changed since, each with a version that differs after each change.
Source: TypeAlias = Callable[[datetime], Mapping[UUID, Hashable]]


class Recheck:
    """Queries each topic's source on the room's loop and calls `found` with what changed.

    It does so more often while the listener does not hear (`hears`).
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        database: Outage,
        found: Callable[[str, Sequence[UUID]], None],
        hears: Callable[[], bool],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._sources = sources
        self._database = database
        self._found = found
        self._hears = hears
        self._timer = Timer(loop)
        self._seen: dict[str, _Seen] = {}

    async def run(self) -> None:
        while True:
            await self.check()
            await self._timer.sleep(self._interval())

    def check_soon(self) -> None:
        """Check now, without waiting for the next interval."""
        self._timer.wake()

    async def check(self) -> None:
        for topic, source in list(self._sources.items()):
            with self._database.watch():
                self._seen[topic], ids = await in_database(_ask, source, self._seen.get(topic))
            if ids:
                self._found(topic, ids)

    def _interval(self) -> float:
        settings = approval_settings()
        usual = settings.recheck_interval
        return usual if self._hears() else min(usual, settings.hearing_interval)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """When a topic was checked, and when with the whole overlap (database clock); versions found since."""

    looked: datetime
    reached_back: datetime
    versions: Mapping[UUID, Hashable]


def _ask(source: Source, seen: _Seen | None) -> tuple[_Seen, Sequence[UUID]]:
    now = database_now()
    overlap = timedelta(seconds=approval_settings().recheck_overlap)
    told = {} if seen is None else seen.versions
    if seen is None or not seen.reached_back <= now < seen.reached_back + overlap / 2:
        since = now if seen is None else min(now, seen.reached_back)
        found = source(since - overlap)
        seen = _Seen(looked=now, reached_back=now, versions=found)
    else:
        # `min`: a database's clock may be set back, by a failover for instance.
        found = source(min(now, seen.looked) - min(overlap, USUAL_REACH))
        seen = _Seen(looked=now, reached_back=seen.reached_back, versions={**told, **found})
    return seen, [each for each, version in found.items() if told.get(each, _NEVER) != version]


_NEVER = object()
