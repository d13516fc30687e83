"""The waiting room: where this process waits for people. One a process, on one event loop.

Waiters register from any loop. The room's own loop is the server's, or, where there is no server, one in a
thread that the first wait starts. The room owns everything that waits need (see duty.py), and nothing of it
once for each wait.
It may start and stop any number of times; who waits meanwhile keeps waiting.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from datetime import timedelta
from functools import cache
from time import monotonic
from uuid import UUID

from django.db import Error as DatabaseError

from approvals import queries
from approvals.database.clock import seconds_since
from approvals.database.threads import in_database
from approvals.domain.lifecycle import Outcome
from approvals.domain.payloads import seconds
from approvals.exceptions import StillPending
from approvals.process import forks, telemetry
from approvals.waiting.followers import Follower, Followers
from approvals.waiting.readings import Waiters
from approvals.waiting.recheck import Source
from approvals.waiting.registry import Registry
from approvals.waiting.supervisor import REQUESTS, Health, Supervisor

LAST_LOOK = 2.0
STOPPING = 10.0


class WaitingRoom:
    """Everyone in this process who waits. Its methods may be called from any thread and any loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: Waiters = Registry()
        self._followers = Followers()
        self._sources: dict[str, Source] = {REQUESTS: queries.changed_since}
        self._duty: Supervisor | None = None

    def __len__(self) -> int:
        """How many waits there are."""
        return len(self._waiters)

    @property
    def running(self) -> bool:
        return self._duty is not None and self._duty.alive

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop on which followers are called; None while the room does not run."""
        return self._duty.loop if self._duty is not None and self._duty.alive else None

    @property
    def health(self) -> Health | None:
        """How its parts are; None while it does not run."""
        duty = self._duty
        return duty.health if duty is not None and duty.alive else None

    async def wait(self, request_id: UUID | str, patience: float | timedelta | None = None) -> Outcome:
        """Wait until the request is closed; return what its row records.

        Raises UnknownRequest naming the id, and StillPending after `patience` seconds: the request stays
        open. While the database is away the wait goes on, and ends when it is back.
        """
        request_id = queries.as_id(request_id)
        patience = seconds(patience, "patience", none_allowed=True)
        with telemetry.span("sayso.wait", request=request_id) as span:
            began = monotonic()
            duty = self._ensure_supervisor()
            waiter = self._waiters.register(request_id, patience)
            try:
                duty.looks.ask([request_id])
                outcome = await waiter
            except TimeoutError:
                outcome = await _last_look(request_id)
            finally:
                self._waiters.deregister(request_id, waiter)
            if outcome is None:
                raise queries.unknown_request(request_id)
            _measure(outcome, monotonic() - began)
            span.note(outcome=outcome.status)
            return outcome

    def follow(self, topic: str, follower: Follower) -> None:
        """From now on tell `follower` what changes; for this, the room must run."""
        self._followers.follow(topic, follower)

    def unfollow(self, topic: str, follower: Follower) -> None:
        self._followers.unfollow(topic, follower)

    def set_topic_source(self, topic: str, changed_since: Source) -> None:
        """How the re-check finds what changed of this topic: ids, given a moment of the database's clock."""
        self._sources[topic] = changed_since

    async def start(self) -> None:
        """Run on the running loop until `stop`, or the loop's end. A room in its own thread moves here.

        This is where a server has loaded what it runs: from the first start on, garbage collection spares it.
        """
        _spare_what_is_loaded()
        loop = asyncio.get_running_loop()
        if self.running and self.loop is not loop:
            await self.stop()
        with self._lock:
            if not self.running:
                self._duty = self._new_supervisor(loop)
                self._duty.begin()

    async def stop(self) -> None:
        """End all of the room's work. Those who wait keep waiting, until it is started again."""
        duty = self._duty
        if duty is not None and duty.alive:
            await asyncio.wrap_future(duty.end())
        self._forget(duty)

    def ensure_running(self) -> None:
        """Have the room run: where nobody started it, in a daemon thread with a loop of its own."""
        self._ensure_supervisor()

    def close(self) -> None:
        """As `stop`, from synchronous code. A loop that does not run any more is not waited for."""
        duty = self._duty
        if duty is not None and duty.alive and duty.loop.is_running():
            duty.end().result(STOPPING)
        self._forget(duty)

    def _ensure_supervisor(self) -> Supervisor:
        duty = self._duty
        if duty is not None and duty.alive:
            return duty
        with self._lock:
            if self._duty is None or not self._duty.alive:
                self._duty = self._new_supervisor(asyncio.new_event_loop())
                self._duty.begin_in_thread()
            return self._duty

    def _new_supervisor(self, loop: asyncio.AbstractEventLoop) -> Supervisor:
        return Supervisor(loop, self._waiters, self._followers, self._sources)

    def _forget(self, duty: Supervisor | None) -> None:
        with self._lock:
            if self._duty is duty:
                self._duty = None
        if duty is not None:
            duty.abandon()


def waiting_room() -> WaitingRoom:
    """This process's room."""
    return _room()


def close_waiting_room() -> None:
    """Stop and forget the room; the next use makes another."""
    if _room.cache_info().currsize:
        _room().close()
        _room.cache_clear()


@cache
def _room() -> WaitingRoom:
    telemetry.waits.set_function(lambda: len(_room()))
    return WaitingRoom()


def _forget() -> None:
    if _room.cache_info().currsize:
        forks.keep(_room())  # its loop's selector is the parent's, too
        _room.cache_clear()


forks.register(_forget)


@cache
def _spare_what_is_loaded() -> None:
    """Code and settings live as long as the process. To go through them at each full collection stops every
    wait and socket for longer than most decisions take."""
    gc.collect()
    gc.freeze()


def _measure(outcome: Outcome, waited: float) -> None:
    """How long its waiter took to go on; not where the request was closed before anybody waited."""
    late = None if outcome.decided_at is None else seconds_since(outcome.decided_at)
    if late is not None and late < waited:
        telemetry.resumed.observe(max(late, 0.0))


async def _last_look(request_id: UUID) -> Outcome | None:
    """When patience is over: what the row says now, unless even that takes too long."""
    outcome: Outcome | None = None
    try:
        async with asyncio.timeout(LAST_LOOK):
            looks = await in_database(queries.request_states, [request_id])
    except (TimeoutError, DatabaseError):
        pass
    else:
        if not looks or looks[0].outcome.closed:
            return looks[0].outcome if looks else None
        outcome = looks[0].outcome
    raise StillPending(f"Request {request_id} is still pending.", outcome=outcome)
