"""The postman: posts outcomes when they are due. One task a process, and one for each post under way.

It learns of new callbacks by hints, and otherwise sleeps until the earliest is due. Every process with a
postman tries them all; the claim decides who posts. An attempt holds its place among the `CONCURRENT` until
it is on record, so neither many callbacks nor a database that is away make it take more than it can keep.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextvars import Context
from typing import Protocol
from uuid import UUID

from django.db import DataError, IntegrityError
from django.db import Error as DatabaseError

from approvals import callbacks
from approvals.callbacks import Attempt, Due
from approvals.database import in_database
from approvals.waiting.alarm import Alarm
from approvals.waiting.outages import Outage, keep_running
from approvals.waiting.room import WaitingRoom
from approvals.webhooks.messages import Message, message_of
from approvals.webhooks.posting import Answer, Posting

CONCURRENT = 16
# asyncio's clock stops while the machine is suspended.
LONGEST_SLEEP = 15.0
SHORTEST_SLEEP = 0.05
# Nothing waits at all: whoever changes that says so.
IDLE = 3600.0
# Seconds for what is under way when the process stops, and then for putting it on record.
LAST_POSTS = 2.0
LAST_WORDS = 2.0

log = logging.getLogger(__name__)


class Poster(Protocol):
    async def post(self, url: str, message: Message) -> Answer: ...

    def close(self) -> None: ...


class Postman:
    """One process's part in posting outcomes, on the loop where it is made. Follows their topic."""

    def __init__(self, room: WaitingRoom, posting: Poster | None = None) -> None:
        self._room = room
        self._posting = posting or Posting()
        self._alarm = Alarm(asyncio.get_running_loop())
        self._database = Outage("callbacks' database", DatabaseError)
        self._under_way: dict[asyncio.Task[None], Due] = {}
        self._made: list[Attempt] = []
        self._living: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._room.topic_source(callbacks.TOPIC, callbacks.changed_since)
        self._room.follow(callbacks.TOPIC, self)
        self._living = asyncio.create_task(self._live(), context=Context())

    async def stop(self) -> None:
        """Claim nothing more; what has no answer soon is left to others, who will post it again."""
        self._room.unfollow(callbacks.TOPIC, self)
        if self._living is not None:
            self._living.cancel()
            await asyncio.wait([self._living])
        self._posting.close()

    async def look(self, ids: frozenset[UUID]) -> None:
        self._alarm.ring()

    async def look_everywhere(self) -> None:
        self._alarm.ring()

    async def _live(self) -> None:
        try:
            await keep_running("postman", self._work)
        finally:
            await self._finish()

    async def _work(self) -> None:
        while True:
            await self._alarm.sleep(await self._round())

    async def _round(self) -> float:
        """Record what was made, begin what is due. Returns the seconds until it is worth asking again."""
        with self._database.noticed():
            await self._record()
            free = CONCURRENT - len(self._under_way) - len(self._made)
            if free <= 0:
                return LONGEST_SLEEP  # The next to end rings.
            receivers = Counter(callbacks.receiver_of(due.url) for due in self._under_way.values())
            due, pause = await in_database(_claim, free, receivers)
        for one in due:
            self._begin(one)
        return pause

    async def _record(self) -> None:
        # Taken away first: a record that is cancelled here goes on in its thread.
        made, self._made = self._made, []
        try:
            await in_database(callbacks.record, made)
        except (DataError, IntegrityError):
            log.exception("attempts not recorded; they will be made again attempts=%d", len(made))
        except DatabaseError:
            self._made = made + self._made
            raise

    def _begin(self, due: Due) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(due), context=Context())
        self._under_way[task] = due
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self._alarm.ring()

    async def _deliver(self, due: Due) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        answer = Answer(error="The server stopped before there was an answer.")
        try:
            answer = await self._posting.post(due.url, message_of(due))
        except Exception as error:
            log.exception("post failed callback=%s", due.callback_id)
            answer = Answer(error=f"The post failed here: {type(error).__name__}.")
        finally:
            self._made.append(_attempt(due, answer, loop.time() - started))

    async def _finish(self) -> None:
        """When the process stops: the answers that come soon, and a word on those that do not."""
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


def _claim(free: int, receivers: Counter[str]) -> tuple[list[Due], float]:
    """What to post now, and the seconds until there may be more."""
    if due := callbacks.claim(free, receivers):
        return due, 0.0
    earliest, now = callbacks.next_due(receivers)
    if earliest is None:
        return [], IDLE
    return [], min(max((earliest - now).total_seconds(), SHORTEST_SLEEP), LONGEST_SLEEP)


def _attempt(due: Due, answer: Answer, seconds: float) -> Attempt:
    if answer.error:
        log.info("outcome not delivered callback=%s status=%s", due.callback_id, answer.status_code)
    return Attempt(
        due=due,
        seconds=seconds,
        status_code=answer.status_code,
        error=answer.error,
        retry_after=answer.retry_after,
        final=answer.final,
    )
