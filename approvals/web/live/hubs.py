"""Hubs: one a process for each kind of page; no connection costs a query or a subscription of its own.

Each connection has a seat. One task reads the rows for all seats, one set-based reading after the other: what
a seat was sent is always what some reading found, and readings never overtake each other. Revoked tokens come
first, then hints, then seats that are due a fresh reading, then the regular check of all credentials and
rights. The task follows its topics in the waiting room, from before the first reading, while there are seats.
"""

from __future__ import annotations

import asyncio
import contextvars
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from math import ceil
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar
from uuid import UUID

from django.db import Error as DatabaseError

from approvals.waiting.outages import Outage, keep_running
from approvals.waiting.waiting_room import WaitingRoom, waiting_room
from approvals.web.edge import tokens
from approvals.web.edge.credentials import Credential
from approvals.web.edge.revocations import follow_revocations
from approvals.web.live.send_queue import FAILED, Outbox

P = ParamSpec("P")
K = TypeVar("K", bound=Hashable)

# Seconds within which all credentials, users and rights are checked, as each event and each act does; and
# in how many parts, so that thousands of connections take little of the processor at a time.
CHECK_INTERVAL = 45.0
CHECK_PARTS = 45

HINTS_AT_ONCE = 500
CHECKS_AT_ONCE = 500
SEATS_BETWEEN_TURNS = 200

UNAUTHENTICATED = 4401


@dataclass(slots=True, eq=False)
class Seat:
    """One connection in a hub. `user_id` is None until the first reading."""

    outbox: Outbox
    credential: Credential
    user_id: int | None = field(default=None, init=False)

    def holds(self, owner: int | None) -> bool:
        """Whether the credential's owner now is the user whom it was opened for."""
        return owner is not None and self.user_id in (None, owner)


S = TypeVar("S", bound=Seat)


class Hub(ABC, Generic[S]):
    """Base of hubs; belongs to the event loop of its connections. Subclasses read rows and send frames."""

    topic: ClassVar[str]
    refreshed_at_once: ClassVar[int]

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._bell = asyncio.Event()
        self._seats: set[S] = set()
        self._hinted: dict[UUID, None] = {}
        self._due: dict[S, None] = {}
        self._unchecked: dict[S, None] = {}
        self._not_yet_checked: dict[S, None] = {}  # in this round of regular checks
        self._doubtful: dict[S, None] = {}
        self._revocations = _Revocations(self)
        self._task: asyncio.Task[None] | None = None
        self._checks: asyncio.TimerHandle
        self._database = Outage("database", DatabaseError)

    # For connections

    def join(self, seat: S) -> None:
        """Take a seat; what it shows is sent by the next reading."""
        self._seats.add(seat)
        self.refresh([seat])
        if self._task is None or self._task.done():
            work = keep_running(f"hub of {self.topic}", self._serve)
            self._task = self.loop.create_task(work, context=contextvars.Context())

    def leave(self, seat: S) -> None:
        if seat not in self._seats:
            return
        self._seats.remove(seat)
        for waiting in (self._due, self._unchecked, self._not_yet_checked, self._doubtful):
            waiting.pop(seat, None)
        self._forget(seat)
        if not self._seats:
            self._bell.set()

    def refresh(self, seats: Iterable[S]) -> None:
        """Have these seats read anew, and sent what differs."""
        self._due.update((seat, None) for seat in seats if seat in self._seats)
        self._bell.set()

    def check_everybody(self) -> None:
        """Have the credential, user and rights of every seat checked."""
        self._unchecked.update(dict.fromkeys(self._seats))
        self._bell.set()

    def check_credentials(self, credentials: Collection[Credential]) -> None:
        """Have the seats of these credentials checked before anything else."""
        self._doubtful.update((seat, None) for seat in self._seats if seat.credential in credentials)
        self._bell.set()

    # For the waiting room, whose loop may be another

    async def look(self, ids: frozenset[UUID]) -> None:
        self.call(self._hint, ids)

    async def look_everywhere(self) -> None:
        self.call(self.refresh, self._seats)

    def ring(self) -> None:
        """Have the hub see whether there is something to do; from any loop."""
        self.call(self._bell.set)

    def call(self, function: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call `function` on the hub's loop; from any loop."""
        if asyncio.get_running_loop() is self.loop:
            function(*args, **kwargs)
        elif not self.loop.is_closed():
            self.loop.call_soon_threadsafe(partial(function, *args, **kwargs))

    # For subclasses

    @abstractmethod
    async def _tell_of(self, ids: frozenset[UUID]) -> None:
        """Read these rows and send events to the seats that they concern."""

    @abstractmethod
    async def _tell(self, seats: Sequence[S]) -> None:
        """Read all that these seats show, and send them what differs."""

    @abstractmethod
    async def _check(self, seats: Sequence[S]) -> None:
        """Expel seats whose credential is not valid any more; refresh those whose rights have changed."""

    def _forget(self, seat: S) -> None:
        """Forget what the hub remembers of a seat that was given up."""

    def _follow(self, room: WaitingRoom) -> None:
        """Be told of changes from now on."""
        room.follow(self.topic, self)
        follow_revocations(room, self._revocations)

    def _unfollow(self, room: WaitingRoom) -> None:
        room.unfollow(self.topic, self)
        room.unfollow(tokens.TOPIC, self._revocations)

    def _expel(self, seat: S, code: int = UNAUTHENTICATED) -> None:
        self.leave(seat)
        seat.outbox.close(code)

    # The one task

    async def _serve(self) -> None:
        """Work until there are no seats. After a failure it is started again, and reads everything anew."""
        if self._seats:
            room = waiting_room()
            room.ensure_running()
            self._follow(room)
            self._schedule_checks()
            try:
                await self._do_everything()
            finally:
                self._checks.cancel()
                self._unfollow(room)
        # Not one await since the last look at the seats: whoever joins from now on starts another task.
        self._task = None
        self._hinted.clear()

    async def _do_everything(self) -> None:
        self.refresh(self._seats)
        while self._seats:
            if not await self._do_next():
                self._bell.clear()
                await self._bell.wait()

    async def _do_next(self) -> bool:
        """Do one bounded piece of work; return whether there was any."""
        with self._database.watch():
            if seats := _take(self._doubtful, CHECKS_AT_ONCE):
                await self._check(seats)
            elif ids := _take(self._hinted, HINTS_AT_ONCE):
                await self._tell_of(frozenset(ids))
            elif seats := _take(self._due, self.refreshed_at_once):
                await self._tell_or_close(seats)
            elif seats := _take(self._unchecked, CHECKS_AT_ONCE):
                await self._check(seats)
            else:
                return False
        return True

    async def _tell_or_close(self, seats: Sequence[S]) -> None:
        """Read these seats; close them after an error that is no outage, so that others are served."""
        try:
            await self._tell(seats)
        except DatabaseError:
            raise
        except Exception:
            for seat in seats:
                self._expel(seat, FAILED)
            raise

    def _schedule_checks(self) -> None:
        self._checks = self.loop.call_later(CHECK_INTERVAL / CHECK_PARTS, self._check_some)

    def _check_some(self) -> None:
        """Have the next part of all seats checked."""
        if not self._not_yet_checked:
            self._not_yet_checked.update(dict.fromkeys(self._seats))
        part = _take(self._not_yet_checked, ceil(len(self._seats) / CHECK_PARTS))
        self._unchecked.update(dict.fromkeys(part))
        self._bell.set()
        self._schedule_checks()

    def _hint(self, ids: Iterable[UUID]) -> None:
        if self._seats:
            self._hinted.update(dict.fromkeys(ids))
            self._bell.set()


class _Revocations:
    """Tells a hub of revoked tokens. Where a hint may have been lost, the hub reads everything anew."""

    def __init__(self, hub: Hub[Any]) -> None:
        self._hub = hub

    async def look(self, ids: frozenset[UUID]) -> None:
        self._hub.call(self._hub.check_credentials, ids)

    async def look_everywhere(self) -> None:
        pass


def _take(waiting: dict[K, None], most: int) -> list[K]:
    taken = list(islice(waiting, most))
    for each in taken:
        del waiting[each]
    return taken
