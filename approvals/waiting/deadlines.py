"""The deadline keeper: has timeouts and steps of escalations recorded when due, by one timer a process.

Every process watches the moments of all pending requests, because any other may be late or dead. The first
to notice one has the writer record it, which checks it by the database's clock. asyncio's clock stops while
the machine is suspended, so the keeper never sleeps long before it reads again what is due next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from time import monotonic
from typing import TypeAlias

from approvals import queries
from approvals.database.threads import in_database
from approvals.domain.commands import Accepted, Escalate, Expire, Result
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

Due: TypeAlias = Expire | Escalate

log = logging.getLogger(__name__)


class DeadlineKeeper:
    """Runs on the room's loop; `consider` and `note_changes` may be called from any thread.

    `passed` is called with the earliest moment that has passed, once all that was due is recorded: where
    another process recorded it, its hint may be lost.
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
        """When all that was due was last recorded (monotonic clock)."""

    def consider(self, deadline: datetime) -> None:
        """Wake up no later than at this deadline of a pending request."""
        if self._earliest is None or deadline < self._earliest:
            self._earliest = deadline
            self._timer.wake()

    def note_changes(self) -> None:
        """Read what is due next within a second, because requests have opened or changed somewhere."""
        if self._news is None:
            self._loop.call_soon_threadsafe(self._ask_before_long)

    async def run(self) -> None:
        while True:
            pause = await self.record_due()
            self.kept_at = monotonic()
            await self._timer.sleep(pause)

    async def record_due(self) -> float:
        """Have all recorded that is due; return the seconds until more may be."""
        # A deadline considered while the database answers may be missing from its answer: let it wake the
        # keeper.
        considered, self._earliest = self._earliest, None
        self._kept = min((each for each in (self._kept, considered) if each is not None), default=None)
        with self._database.watch():
            earliest, now = await in_database(queries.next_due)
        due = earliest is not None and earliest <= now
        recorded = not due or await self._record_all()
        if self._kept is not None and self._kept <= now:
            await self._passed(self._kept)
        self._kept = None if recorded else earliest
        if due:
            return 0.0 if recorded else AFTER_NOTHING
        if earliest is None:
            return LONGEST_SLEEP
        if self._earliest is None:
            self._earliest = earliest
        return min((earliest - now).total_seconds(), LONGEST_SLEEP)

    async def _record_all(self) -> bool:
        """Return False if nothing was recorded: another process does it, or the writer refused."""
        found = due = await self._read_due()
        while due:
            results, last = await _submit_all(due)
            # While the last set is written, so that the writer never waits for this reading.
            found = await self._read_due() if len(found) == AT_ONCE else []
            results += await _results(last)
            if not any(isinstance(result, Accepted) and result.changed for result in results):
                failed = [result for result in results if not isinstance(result, Accepted)]
                if failed:
                    log.warning("timeouts not recorded due=%d first=%r", len(failed), failed[0])
                return False
            handed_over = set(due[-CHUNK:])
            due = [each for each in found if each not in handed_over]
            if not due:
                found = due = await self._read_due()
        return True

    async def _read_due(self) -> list[Due]:
        with self._database.watch():
            return await in_database(_read_due)

    def _ask_before_long(self) -> None:
        if self._news is None:
            self._news = self._loop.call_later(AFTER_NEWS, self._ask_for_news)

    def _ask_for_news(self) -> None:
        self._news = None
        self._timer.wake()


def _read_due() -> list[Due]:
    """Return what is due, deadlines first; what is left comes with the next reading."""
    timeouts: list[Due] = [Expire(request_id=request_id) for request_id in queries.overdue(AT_ONCE)]
    return timeouts + queries.due_steps(AT_ONCE - len(timeouts))


async def _submit_all(
    due: Sequence[Due],
) -> tuple[list[Result | BaseException], Sequence[Future[Result]]]:
    """Submit what is due; return the results, but for the last set: that is under way.

    Other processes may have been first.
    """
    results: list[Result | BaseException] = []
    under_way: list[Future[Result]] = []
    for start in range(0, len(due), CHUNK):
        try:
            following = queue.submit_many(due[start : start + CHUNK])
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
