"""The deadline keeper: has timeouts recorded when they are due. One timer a process, whatever is pending.

Every process keeps the deadlines of all pending requests, since any other may be late or dead. Whoever
notices first has the writer record it, which tests the deadline on the database's clock. asyncio sleeps on a
clock that stops while the machine is suspended, so the keeper never sleeps long before it asks again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from time import monotonic
from uuid import UUID

from approvals import queries
from approvals.database.threads import in_database
from approvals.domain.commands import Accepted, Expire, Result
from approvals.exceptions import ApprovalError
from approvals.waiting.outages import Outage
from approvals.waiting.timer import Timer
from approvals.writer import queue

# So many are read at once; of these, so many are handed to the writer at once, and the next while it writes:
# never more than two chunks, for what people decide meanwhile queues behind them.
AT_ONCE = 5000
CHUNK = 512
LONGEST_SLEEP = 15.0
AFTER_NEWS = 1.0
AFTER_NOTHING = 1.0

log = logging.getLogger(__name__)


class DeadlineKeeper:
    """Runs on the room's loop; `consider` and `news` from any thread.

    `passed` is told the earliest of the deadlines that it kept and that have passed, once all of those are
    recorded: where another process was first, nobody here may have heard of it.
    """

    def __init__(
        self,
        database: Outage,
        loop: asyncio.AbstractEventLoop,
        passed: Callable[[datetime], Awaitable[None]],
    ) -> None:
        self._database = database
        self._loop = loop
        self._passed = passed
        self._alarm = Timer(loop)
        self._earliest: datetime | None = None
        self._kept: datetime | None = None
        self._news: asyncio.TimerHandle | None = None
        self.kept_at: float | None = None
        """When it last knew what is due, and had that recorded (monotonic clock)."""

    def consider(self, deadline: datetime) -> None:
        """Some pending request has this deadline: don't sleep beyond it."""
        if self._earliest is None or deadline < self._earliest:
            self._earliest = deadline
            self._alarm.wake()

    def note_changes(self) -> None:
        """Requests opened or changed somewhere: ask the database before long whether one is due earlier."""
        if self._news is None:
            self._loop.call_soon_threadsafe(self._ask_before_long)

    async def run(self) -> None:
        while True:
            pause = await self.record_due()
            self.kept_at = monotonic()
            await self._alarm.sleep(pause)

    async def record_due(self) -> float:
        """Have recorded what is due. Returns the seconds until it is worth asking again."""
        # What is considered while the database answers may be missing from its answer: let that ring.
        considered, self._earliest = self._earliest, None
        self._kept = min((each for each in (self._kept, considered) if each is not None), default=None)
        with self._database.watch():
            earliest, now = await in_database(queries.next_deadline)
        overdue = earliest is not None and earliest <= now
        recorded = not overdue or await self._record_timeouts()
        if self._kept is not None and self._kept <= now:
            await self._passed(self._kept)
        self._kept = None if recorded else earliest
        if overdue:
            return 0.0 if recorded else AFTER_NOTHING
        if earliest is None:
            return LONGEST_SLEEP
        if self._earliest is None:
            self._earliest = earliest
        return min((earliest - now).total_seconds(), LONGEST_SLEEP)

    async def _record_timeouts(self) -> bool:
        """False where this process recorded nothing: another is at it, or trying at once would not help."""
        while True:
            with self._database.watch():
                due = await in_database(queries.overdue, AT_ONCE)
            if not due:
                return True
            results = await _expire_all(due)
            if not any(isinstance(result, Accepted) and result.changed for result in results):
                failed = [result for result in results if not isinstance(result, Accepted)]
                if failed:
                    log.warning("timeouts not recorded due=%d first=%r", len(failed), failed[0])
                return False

    def _ask_before_long(self) -> None:
        if self._news is None:
            self._news = self._loop.call_later(AFTER_NEWS, self._ask_for_news)

    def _ask_for_news(self) -> None:
        self._news = None
        self._alarm.wake()


async def _expire_all(ids: Sequence[UUID]) -> list[Result | BaseException]:
    """What the writer says of each. Other processes may have been first, which is as good."""
    results: list[Result | BaseException] = []
    under_way: list[Future[Result]] = []
    for start in range(0, len(ids), CHUNK):
        commands = [Expire(request_id=request_id) for request_id in ids[start : start + CHUNK]]
        try:
            following = queue.submit_many(commands)
        except ApprovalError as error:
            return [*results, *await _results(under_way), error]
        results += await _results(under_way)
        under_way = following
    return results + await _results(under_way)


async def _results(futures: Sequence[Future[Result]]) -> list[Result | BaseException]:
    """Of the writer, which has them in order: who waits for the last first, need not wait for the others."""
    return [await _result(future) for future in reversed(futures)]


async def _result(future: Future[Result]) -> Result | BaseException:
    if not future.done():
        await asyncio.wait([asyncio.wrap_future(future)])
    return future.exception() or future.result()
