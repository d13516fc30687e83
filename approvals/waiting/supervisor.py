"""The supervisor runs a waiting room's long-lived tasks, all on one event loop."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from threading import Thread
from uuid import UUID

from django.db import Error as DatabaseError

from approvals.conf import approval_settings
from approvals.process import hints
from approvals.waiting.comment_waits import CommentReader, CommentWaits
from approvals.waiting.deadlines import DeadlineKeeper
from approvals.waiting.followers import Followers
from approvals.waiting.listener import Listener, Sender
from approvals.waiting.outages import Outage, keep_running
from approvals.waiting.outcome_reads import OutcomeReader, Waiters
from approvals.waiting.recheck import Recheck, Source
from approvals.waiting.timer import Timer

REQUESTS = "requests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """When the listener last heard itself, and when all timeouts were last recorded (monotonic clock).

    None: not yet, or not any more.
    """

    heard_at: float | None = None
    kept_at: float | None = None


class Supervisor:
    """Runs the tasks from `begin` to `end`; a room that starts again gets another supervisor."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        waiters: Waiters,
        comment_waits: CommentWaits,
        followers: Followers,
        sources: Mapping[str, Source],
    ) -> None:
        database = Outage("database", DatabaseError)
        nonce = secrets.token_hex(8)
        self.loop = loop
        self._keeper = DeadlineKeeper(database, loop, self._deadline_passed)
        self.reader = OutcomeReader(waiters, database, self._keeper.consider, loop)
        self.comment_reader = CommentReader(comment_waits, database, loop)
        self._followers = followers
        self._sender = Sender(nonce, loop)
        self._everywhere = Timer(loop)
        self._recheck = Recheck(sources, database, self._take_hint, self._hears, loop)
        self._listener = Listener(
            nonce, self._take_hint, lost=self._recheck.check_soon, renewed=self._everywhere.wake
        )
        self._end = asyncio.Event()
        self._ending = False
        self._ended: Future[None] = Future()
        self._task: asyncio.Task[None] | None = None

    @property
    def health(self) -> Health:
        return Health(heard_at=self._listener.heard_at, kept_at=self._keeper.kept_at)

    @property
    def alive(self) -> bool:
        return not (self._ending or self._ended.done() or self.loop.is_closed())

    def begin(self) -> None:
        """Start the tasks on the loop, which is running here."""
        self._task = self.loop.create_task(self._work_here(), context=Context())

    def begin_in_thread(self) -> None:
        """Run the loop in a daemon thread, which does not keep the process alive."""
        Thread(target=self._work_in_thread, name="sayso-waiting-room", daemon=True).start()

    def end(self) -> Future[None]:
        """Stop all tasks. The future is done when they have ended, which takes a running loop."""
        self._ending = True
        self.loop.call_soon_threadsafe(self._end.set)
        return self._ended

    def abandon(self) -> None:
        """Stop taking hints, also when the loop does not run any more."""
        self._ending = True
        hints.detach(self._pass_on)

    def _hears(self) -> bool:
        return self._listener.heard_at is not None

    async def _deadline_passed(self, deadline: datetime) -> None:
        await self.reader.look_since(deadline)

    def _pass_on(self, topic: str, ids: Sequence[UUID]) -> None:
        self._take_hint(topic, ids)
        self._sender.put(topic, ids)

    def _take_hint(self, topic: str, ids: Sequence[UUID]) -> None:
        if topic == REQUESTS:
            self.reader.ask(ids)
            self.comment_reader.ask(ids)
            self._keeper.note_changes()
        self._followers.tell(topic, ids)

    def _work_in_thread(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
                runner.run(self._work())
        finally:
            self._ended.set_result(None)

    async def _work_here(self) -> None:
        try:
            await self._work()
        finally:
            self._ended.set_result(None)

    async def _work(self) -> None:
        works = {
            "outcome reader": self.reader.run,
            "comment reader": self.comment_reader.run,
            "re-read": self._look_everywhere,
            "re-check": self._recheck.run,
            "deadline keeper": self._keeper.run,
            "followers": self._followers.run,
            "listener": self._listener.run,
            "sender": self._sender.run,
        }
        # Attached before the first reading, so that no change falls between the two.
        hints.attach(self._pass_on)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(keep_running(name, work)) for name, work in works.items()]
                await self._end.wait()
                for task in tasks:
                    task.cancel()
        finally:
            hints.detach(self._pass_on)

    async def _look_everywhere(self) -> None:
        """Read everything at the start, after anything that may have lost hints, and at a slow interval."""
        while True:
            await self.reader.look_everywhere()
            await self.comment_reader.look_everywhere()
            self._followers.tell_everywhere()
            await self._everywhere.sleep(approval_settings().full_reread_interval)
