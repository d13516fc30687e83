"""The waiting room: all waits of this process, and the tasks that serve them on one event loop.

Waiters register from any loop. The room's own loop is the server's, or, where there is no server, one in a
thread that the first wait starts. The room's tasks (see `supervisor`) are shared by all waits. It may stop
and start any number of times; waiters keep waiting.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection
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
from approvals.waiting.comment_waits import CommentWaits
from approvals.waiting.followers import Follower, Followers
from approvals.waiting.outcome_reads import Waiters
from approvals.waiting.recheck import Source
from approvals.waiting.registry import Registry
from approvals.waiting.supervisor import REQUESTS, Health, Supervisor
from approvals.writer import closing_listeners

LAST_LOOK = 2.0
STOPPING = 10.0


class WaitingRoom:
    """All waits of this process. Its methods may be called from any thread and any loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: Waiters = Registry()
        self._comment_waits = CommentWaits()
        self._followers = Followers()
        self._sources: dict[str, Source] = {REQUESTS: queries.changed_since}
        self._supervisor: Supervisor | None = None

    def __len__(self) -> int:
        """Count the waits."""
        return len(self._waiters) + len(self._comment_waits)

    @property
    def running(self) -> bool:
        return self._living() is not None

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop on which followers are called; None while the room is stopped."""
        return supervisor.loop if (supervisor := self._living()) else None

    @property
    def health(self) -> Health | None:
        """When its parts last worked; None while the room is stopped."""
        return supervisor.health if (supervisor := self._living()) else None

    async def wait(self, request_id: UUID | str, patience: float | timedelta | None = None) -> Outcome:
        """Wait until the request is closed; return its recorded outcome.

        Raises UnknownRequest naming the id, and StillPending after `patience` seconds: the request stays
        open. The wait goes on through an outage of the database.
        """
        request_id = queries.as_id(request_id)
        patience = seconds(patience, "patience", none_allowed=True)
        with telemetry.span("sayso.wait", request=request_id) as span:
            began = monotonic()
            supervisor = self._ensure_supervisor()
            waiter = self._waiters.register(request_id, patience)
            try:
                supervisor.reader.ask([request_id])
                outcome = await waiter
            except TimeoutError:
                outcome = await _last_look(request_id)
            finally:
                self._waiters.deregister(waiter, request_id)
            if outcome is None:
                raise queries.unknown_request(request_id)
            _measure(outcome, monotonic() - began)
            span.note(outcome=outcome.status)
            return outcome

    async def wait_for_any(
        self, request_ids: Collection[UUID], patience: float | timedelta | None = None
    ) -> bool:
        """Wait until one of these requests is closed; False after `patience` seconds.

        Ends at once if one is closed already, or does not exist. It is one wait, however many they are.
        """
        patience = seconds(patience, "patience", none_allowed=True)
        supervisor = self._ensure_supervisor()
        waiter = self._waiters.register_for_any(request_ids, patience)
        try:
            supervisor.reader.ask(request_ids)
            await waiter
        except TimeoutError:
            return False
        finally:
            self._waiters.deregister(waiter, *request_ids)
        return True

    async def wait_for_comment(
        self, request_id: UUID | str, known: int, patience: float | timedelta | None = None
    ) -> bool:
        """Wait for a comment after the entry of the trail that is `known`; False after `patience` seconds.

        Also ends when the request is closed, and at once if it is already, or does not exist.
        """
        request_id = queries.as_id(request_id)
        patience = seconds(patience, "patience", none_allowed=True)
        supervisor = self._ensure_supervisor()
        with self._comment_waits.wait(request_id, known, patience) as waiter:
            supervisor.comment_reader.ask([request_id])
            try:
                await waiter
            except TimeoutError:
                return False
            return True

    def wake(self, closed: Collection[UUID], outcome: Callable[[UUID], Outcome]) -> None:
        """Wake who waits for these requests, which this process has closed on record a moment ago."""
        self._waiters.wake({each: outcome(each) for each in self._waiters.waited_for(closed)})

    def follow(self, topic: str, follower: Follower) -> None:
        """Call `follower` with each change of this topic from now on, while the room runs."""
        self._followers.follow(topic, follower)

    def unfollow(self, topic: str, follower: Follower) -> None:
        """Stop calling `follower` with changes of this topic."""
        self._followers.unfollow(topic, follower)

    def set_topic_source(self, topic: str, changed_since: Source) -> None:
        """Set the query by which the re-check finds what has changed of this topic."""
        self._sources[topic] = changed_since

    async def start(self) -> None:
        """Run on the running loop until `stop`, or the loop's end. A room in its own thread moves here."""
        loop = asyncio.get_running_loop()
        if self.running and self.loop is not loop:
            await self.stop()
        with self._lock:
            if not self.running:
                self._supervisor = self._new_supervisor(loop)
                self._supervisor.begin()

    async def stop(self) -> None:
        """Stop the room's tasks. Waiters keep waiting until it is started again."""
        supervisor = self._supervisor
        if supervisor is not None and supervisor.alive:
            await asyncio.wrap_future(supervisor.end())
        self._forget(supervisor)

    def ensure_running(self) -> None:
        """Start the room if it does not run, in a daemon thread with an event loop of its own."""
        self._ensure_supervisor()

    def close(self) -> None:
        """Stop from synchronous code. A loop that does not run any more is not waited for."""
        supervisor = self._supervisor
        if supervisor is not None and supervisor.alive and supervisor.loop.is_running():
            supervisor.end().result(STOPPING)
        self._forget(supervisor)

    def _ensure_supervisor(self) -> Supervisor:
        if supervisor := self._living():
            return supervisor
        with self._lock:
            if (supervisor := self._living()) is None:
                self._supervisor = supervisor = self._new_supervisor(asyncio.new_event_loop())
                supervisor.begin_in_thread()
            return supervisor

    def _living(self) -> Supervisor | None:
        supervisor = self._supervisor
        return supervisor if supervisor is not None and supervisor.alive else None

    def _new_supervisor(self, loop: asyncio.AbstractEventLoop) -> Supervisor:
        return Supervisor(loop, self._waiters, self._comment_waits, self._followers, self._sources)

    def _forget(self, supervisor: Supervisor | None) -> None:
        with self._lock:
            if self._supervisor is supervisor:
                self._supervisor = None
        if supervisor is not None:
            supervisor.abandon()


def waiting_room() -> WaitingRoom:
    """Return this process's room."""
    return _room()


def close_waiting_room() -> None:
    """Stop and forget the room; the next use makes another."""
    if _room.cache_info().currsize:
        closing_listeners.detach(_room().wake)
        _room().close()
        _room.cache_clear()


@cache
def _room() -> WaitingRoom:
    telemetry.waits.set_function(lambda: len(_room()))
    room = WaitingRoom()
    closing_listeners.attach(room.wake)
    return room


def _forget() -> None:
    if _room.cache_info().currsize:
        forks.keep(_room())  # the parent uses its loop's selector, too
        _room.cache_clear()


forks.register(_forget)


def _measure(outcome: Outcome, waited: float) -> None:
    """Observe how long the waiter took to resume, unless the request was closed before it waited."""
    late = None if outcome.decided_at is None else seconds_since(outcome.decided_at)
    if late is not None and late < waited:
        telemetry.resumed.observe(max(late, 0.0))


async def _last_look(request_id: UUID) -> Outcome | None:
    """Read the row once more when patience is over; StillPending, also where even that takes too long."""
    outcome: Outcome | None = None
    try:
        async with asyncio.timeout(LAST_LOOK):
            found = await in_database(queries.outcomes, [request_id])
    except (TimeoutError, DatabaseError):
        pass
    else:
        outcome = found.get(request_id)
        if outcome is None or outcome.closed:
            return outcome
    raise StillPending(f"Request {request_id} is still pending.", outcome=outcome)
