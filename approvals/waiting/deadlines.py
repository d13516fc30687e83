"""The deadline keeper: has timeouts recorded when they are due, with one timer a process.

Every process watches the deadlines of all pending requests, because any other may be late or dead. The first
to notice one has the writer record it, which checks the deadline by the database's clock. asyncio's clock
stops while the machine is suspended, so the keeper never sleeps long before it reads the next deadline again.
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

# Requests that are read at once, and those handed to the writer at once. The next chunk is handed over while
# it writes: never more than two, because people's decisions queue behind them.
AT_ONCE = 5000
CHUNK = 512
LONGEST_SLEEP = 15.0
AFTER_NEWS = 1.0
AFTER_NOTHING = 1.0

log = logging.getLogger(__name__)


class DeadlineKeeper:
    """Runs on the room's loop; `consider` and `note_changes` may be called from any thread.

    `passed` is called with the earliest deadline that has passed, once all timeouts are recorded: where
    another process recorded them, its hint may be lost.
    """

    def __init__(
        self, database: Outage, loop: asyncio.AbstractEventLoop, passed: Callable[[datetime], Awaitable[None]]
    ) -> None:
        self._database = database
        self._loop = loop
        self._passed = passed
        self._timer = Timer(loop)
        self._earliest: datetime | None = None
        self._kept: datetime | None = None
        self._news: asyncio.TimerHandle | None = None
        self.kept_at: float | None = None
        """When all timeouts were last recorded (monotonic clock)."""

    def consider(self, deadline: datetime) -> None:
        """Wake up no later than at this deadline of a pending request."""
        if self._earliest is None or deadline < self._earliest:
            self._earliest = deadline
            self._timer.wake()

    def note_changes(self) -> None:
        """Read the next deadline within a second, because requests have opened or changed somewhere."""
        if self._news is None:
            self._loop.call_soon_threadsafe(self._ask_before_long)

    async def run(self) -> None:
        while True:
            pause = await self.record_due()
            self.kept_at = monotonic()
            await self._timer.sleep(pause)

    async def record_due(self) -> float:
        """Have all timeouts recorded that are due; return the seconds until the next may be."""
        # A deadline considered while the database answers may be missing from its answer: let it wake the
        # keeper.
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
        """Return False if nothing was recorded: another process does it, or the writer refused."""
        found = due = await self._read_overdue()
        while due:
            results, last = await _expire_all(due)
            # While the last set is written, so that the writer never waits for this reading.
            found = await self._read_overdue() if len(found) == AT_ONCE else []
            results += await _results(last)
            if not any(isinstance(result, Accepted) and result.changed for result in results):
                failed = [result for result in results if not isinstance(result, Accepted)]
                if failed:
                    log.warning("timeouts not recorded due=%d first=%r", len(failed), failed[0])
                return False
            handed_over = set(due[-CHUNK:])
            due = [each for each in found if each not in handed_over]
            if not due:
                found = due = await self._read_overdue()
        return True

    async def _read_overdue(self) -> list[UUID]:
        with self._database.watch():
            return await in_database(queries.overdue, AT_ONCE)

    def _ask_before_long(self) -> None:
        if self._news is None:
            self._news = self._loop.call_later(AFTER_NEWS, self._ask_for_news)

    def _ask_for_news(self) -> None:
        self._news = None
        self._timer.wake()


async def _expire_all(
    ids: Sequence[UUID],
) -> tuple[list[Result | BaseException], Sequence[Future[Result]]]:
    """Submit the timeouts; return the results, but for the last set: that is under way.

    Other processes may have been first.
    """
    results: list[Result | BaseException] = []
    under_way: list[Future[Result]] = []
    for start in range(0, len(ids), CHUNK):
        commands = [Expire(request_id=request_id) for request_id in ids[start : start + CHUNK]]
        try:
            following = queue.submit_many(commands)
        except ApprovalError as error:
            return [*results, error], under_way
        results += await _results(under_way)
        under_way = following
    return results, under_way


async def _results(futures: Sequence[Future[Result]]) -> list[Result | BaseException]:
    """Return the results once the last is there: the writer works in order, so all others are, too."""
    if futures and not futures[-1].done():
        await asyncio.wait([asyncio.wrap_future(futures[-1])])
    return [_result(future) for future in futures]


def _result(future: Future[Result]) -> Result | BaseException:
    try:
        return future.result()
    except Exception as error:  # noqa: BLE001  the writer's, which the keeper logs
        return error
