"""The dispatcher finds out whom requests are to be told to, and writes a notification for each destination.

Nothing is composed or sent while a request is opened or decided: that sets the request's watch to now. Here
the watches that are due are claimed in sets, what their trails say since the last look is turned into
notifications, and both are written in one transaction. After them come newcomers, who are greeted with what
waits. It learns of changes by hints, and otherwise sleeps until the earliest watch is due, such as for a
reminder, or a delegation begins. Every process with a dispatcher tries all watches; the claim decides who
looks.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from uuid import UUID

from django.db import Error as DatabaseError

from approvals.database.threads import in_database
from approvals.process import failpoints
from approvals.queries import tellings
from approvals.queries.delegations import delegations_changed_since
from approvals.queries.greetings import next_beginning, to_greet_since
from approvals.waiting.outages import Outage, keep_running
from approvals.waiting.timer import Timer
from approvals.waiting.waiting_room import WaitingRoom
from approvals.writer import delegations, dispatches, greetings, watches

FOLLOWED = ("requests", delegations.TOPIC, greetings.TOPIC)
# Watches in one look: few, for whoever decides one of these waits for its locks; and seconds to the next look
# where there are more.
AT_ONCE, PAUSE = 200, 0.1
# Seconds without a change after which somebody looks, and after which they look in any case. Changes that
# come close together are looked at together, which leaves the database to those who decide; and nobody is
# told what is decided at once.
GATHERING, LONGEST_GATHERING = 0.25, 2.0
# asyncio's clock stops while the machine is suspended.
LONGEST_SLEEP = 15.0
# Sleep when nothing waits: a hint tells of changes.
IDLE = 3600.0


class Dispatcher:
    """Looks at watches when they are due, on the event loop where it is made."""

    def __init__(self, room: WaitingRoom) -> None:
        self._room = room
        self._timer = Timer(asyncio.get_running_loop())
        self._database = Outage("database of the dispatcher", DatabaseError)
        self._living: asyncio.Task[None] | None = None
        self._changes = 0

    async def start(self) -> None:
        """Start looking, and follow the changes of requests, delegations and destinations."""
        self._room.set_topic_source(delegations.TOPIC, delegations_changed_since)
        self._room.set_topic_source(greetings.TOPIC, to_greet_since)
        for topic in FOLLOWED:
            self._room.follow(topic, self)
        self._living = asyncio.create_task(keep_running("dispatcher", self._work), context=Context())

    async def stop(self) -> None:
        """Stop looking. What was claimed is looked at by others, or later: nothing is told twice."""
        for topic in FOLLOWED:
            self._room.unfollow(topic, self)
        if self._living is not None:
            self._living.cancel()
            await asyncio.wait([self._living])

    async def look(self, ids: frozenset[UUID]) -> None:
        self._changes += 1
        self._timer.wake()

    async def look_everywhere(self) -> None:
        self._timer.wake()

    async def _work(self) -> None:
        while True:
            with self._database.watch():
                looked_at = await in_database(_look)
                if looked_at < AT_ONCE:
                    await in_database(_greet)
                pause = 0.0 if looked_at else await in_database(_pause)
            if pause:
                await self._timer.sleep(pause)
            if looked_at < AT_ONCE:
                await self._gather()
            else:
                await asyncio.sleep(PAUSE)

    async def _gather(self) -> None:
        """Wait until changes pause, within limits."""
        loop = asyncio.get_running_loop()
        until = loop.time() + LONGEST_GATHERING
        seen = None
        while seen != self._changes and loop.time() < until:
            seen = self._changes
            await asyncio.sleep(GATHERING)


def _look() -> int:
    """Look at a set of watches that are due; return how many they were."""
    if claimed := watches.claim(AT_ONCE):
        failpoints.reach("watches-claimed")
        dispatches.enqueue(claimed, tellings.look_at(claimed))
        failpoints.reach("notifications-written")
    return len(claimed)


def _greet() -> None:
    """Greet a set of newcomers; more, and those whom others are just greeting, come in a moment."""
    if greetings.greet():
        failpoints.reach("newcomers-greeted")


def _pause() -> float:
    """Return the seconds until a watch may be due, or a newcomer to be greeted."""
    due_at, now = watches.next_due()
    earliest = min((moment for moment in (due_at, next_beginning()) if moment is not None), default=None)
    if earliest is None:
        return IDLE
    return min(max((earliest - now).total_seconds(), GATHERING), LONGEST_SLEEP)
