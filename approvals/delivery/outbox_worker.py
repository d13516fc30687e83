"""The outbox worker delivers the rows of an outbox when they are due, each by a task of its own.

`OutboxWorker(outbox, carrier)`: the outbox has the rows and knows when to try again; the carrier makes one
attempt. The worker learns of new rows by hints, and otherwise sleeps until the earliest is due. Every process
with a worker tries all rows; the claim decides who delivers. An attempt counts against the outbox's `AT_ONCE`
until it is on record, so that their number stays limited also during an outage of the database.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextvars import Context
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from django.db import DataError, IntegrityError
from django.db import Error as DatabaseError

from approvals.database.threads import in_database
from approvals.waiting.outages import Outage, keep_running
from approvals.waiting.timer import Timer
from approvals.waiting.waiting_room import WaitingRoom
from approvals.writer.outboxes import Answer, Attempt, Due, Outbox

# asyncio's clock stops while the machine is suspended.
LONGEST_SLEEP = 15.0
SHORTEST_SLEEP = 0.05
# Sleep when nothing waits: a hint tells of new rows.
IDLE = 3600.0
# Seconds for deliveries under way when the process stops, and then for recording them.
LAST_POSTS = 2.0
LAST_WORDS = 2.0

log = logging.getLogger(__name__)

D = TypeVar("D", bound=Due)
D_contra = TypeVar("D_contra", bound=Due, contravariant=True)


class Carrier(Protocol[D_contra]):
    """Delivers rows of one outbox."""

    async def deliver(self, due: D_contra) -> Answer:
        """Make one attempt, in less time than a claim holds. Never raises for what the other side does."""

    def close(self) -> None:
        """Release what it keeps between attempts."""


class OutboxWorker(Generic[D]):
    """Delivers the rows of one outbox, on the event loop where it is made."""

    def __init__(self, room: WaitingRoom, outbox: Outbox[D], carrier: Carrier[D]) -> None:
        self._room = room
        self._outbox = outbox
        self._carrier = carrier
        self._timer = Timer(asyncio.get_running_loop())
        self._database = Outage(f"database of {outbox.TOPIC}", DatabaseError)
        self._under_way: dict[asyncio.Task[None], D] = {}
        self._made: list[Attempt[D]] = []
        self._living: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start delivering, and follow the outbox's topic."""
        self._room.set_topic_source(self._outbox.TOPIC, self._outbox.changed_since)
        self._room.follow(self._outbox.TOPIC, self)
        self._living = asyncio.create_task(self._live(), context=Context())

    async def stop(self) -> None:
        """Stop claiming. Deliveries without an answer soon are left to other processes, which repeat them."""
        self._room.unfollow(self._outbox.TOPIC, self)
        if self._living is not None:
            self._living.cancel()
            await asyncio.wait([self._living])
        self._carrier.close()

    async def look(self, ids: frozenset[UUID]) -> None:
        self._timer.wake()

    async def look_everywhere(self) -> None:
        self._timer.wake()

    async def _live(self) -> None:
        try:
            await keep_running(f"outbox worker of {self._outbox.TOPIC}", self._work)
        finally:
            await self._finish()

    async def _work(self) -> None:
        while True:
            await self._timer.sleep(await self._round())
            if self._under_way:
                await asyncio.sleep(self._outbox.GATHERING)

    async def _round(self) -> float:
        """Record finished attempts and begin those that are due; return the seconds until the next round."""
        with self._database.watch():
            await self._record()
            free = self._outbox.AT_ONCE - len(self._under_way) - len(self._made)
            if free <= 0:
                return LONGEST_SLEEP  # the next delivery to end wakes the worker
            receivers = Counter(due.receiver for due in self._under_way.values())
            due, pause = await in_database(self._claim, free, receivers)
        for one in due:
            self._begin(one)
        return pause

    async def _record(self) -> None:
        # Taken first: recording that is cancelled here goes on in its thread.
        made, self._made = self._made, []
        try:
            await in_database(self._outbox.record, made)
        except (DataError, IntegrityError):
            topic = self._outbox.TOPIC
            log.exception("attempts not recorded; they will be made again %s=%d", topic, len(made))
        except DatabaseError:
            self._made = made + self._made
            raise

    def _begin(self, due: D) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(due), context=Context())
        self._under_way[task] = due
        task.add_done_callback(self._forget_task)

    def _forget_task(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self._timer.wake()

    async def _deliver(self, due: D) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        answer = Answer(error="The server stopped before there was an answer.")
        try:
            answer = await self._carrier.deliver(due)
        except Exception as error:
            log.exception("delivery failed %s=%s", self._outbox.TOPIC, due.id)
            answer = Answer(error=f"The delivery failed here: {type(error).__name__}.")
        finally:
            if answer.error:
                log.info("not delivered %s=%s error=%r", self._outbox.TOPIC, due.id, answer.error)
            self._made.append(Attempt(due=due, seconds=loop.time() - started, answer=answer))

    async def _finish(self) -> None:
        """Wait for answers that come soon, cancel the other deliveries, and record all."""
        if self._under_way:
            await asyncio.wait(list(self._under_way), timeout=LAST_POSTS)
        if left := list(self._under_way):
            for task in left:
                task.cancel()
            await asyncio.wait(left)
        try:
            async with asyncio.timeout(LAST_WORDS):
                await self._record()
        except (TimeoutError, DatabaseError) as error:
            log.warning("attempts not recorded error=%r", error)

    def _claim(self, free: int, receivers: Counter[str]) -> tuple[list[D], float]:
        """Claim what is due; also return the seconds until more may be."""
        if due := self._outbox.claim(free, receivers):
            return due, 0.0
        earliest, now = self._outbox.next_due(receivers)
        if earliest is None:
            return [], IDLE
        return [], min(max((earliest - now).total_seconds(), SHORTEST_SLEEP), LONGEST_SLEEP)
