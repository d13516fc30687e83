"""A hub: one a process for each kind of page; no connection costs a query or a subscription of its own.

Connections take a seat. One task reads the rows for all of them, one set-based reading after the other: what
a seat has been sent is always what some reading found, and readings never overtake each other. Hints come
first, then seats that are due a fresh reading, then the regular check of everybody's session and rights.
The task follows its topic in the waiting room before the first reading and as long as anybody has a seat.
"""

from __future__ import annotations

import asyncio
import contextvars
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import ClassVar, Generic, ParamSpec, TypeVar
from uuid import UUID

from django.db import Error as DatabaseError

from approvals.waiting.outages import Outage, keep_running
from approvals.waiting.room import waiting_room
from approvals.web.outbox import Outbox

P = ParamSpec("P")
K = TypeVar("K", bound=Hashable)

# Sessions, users and rights of everybody are checked this often, beside each event and each act.
CHECK_INTERVAL = 45.0

HINTS_AT_ONCE = 500
CHECKS_AT_ONCE = 500
SEATS_BETWEEN_TURNS = 200

SESSION_OVER = 4401
FAILED = 1011


class Seat:
    """One connection's place in a hub. `user_id` is None until the first reading has found who it is."""

    __slots__ = ("outbox", "session_key", "user_id")

    def __init__(self, outbox: Outbox, session_key: str) -> None:
        self.outbox = outbox
        self.session_key = session_key
        self.user_id: int | None = None

    def holds(self, owner: int | None) -> bool:
        """Whether its session, which now belongs to `owner`, is still the session it was opened with."""
        return owner is not None and self.user_id in (None, owner)


S = TypeVar("S", bound=Seat)


class Hub(ABC, Generic[S]):
    """Belongs to one event loop: that of its connections. Subclasses say what is read and what is sent."""

    topic: ClassVar[str]
    refreshed_at_once: ClassVar[int]

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._bell = asyncio.Event()
        self._seats: set[S] = set()
        self._hinted: dict[UUID, None] = {}
        self._due: dict[S, None] = {}
        self._unchecked: dict[S, None] = {}
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
        self._due.pop(seat, None)
        self._unchecked.pop(seat, None)
        self._forget(seat)
        if not self._seats:
            self._bell.set()

    def refresh(self, seats: Iterable[S]) -> None:
        """Have these seats read anew and told what differs."""
        self._due.update((seat, None) for seat in seats if seat in self._seats)
        self._bell.set()

    def check_everybody(self) -> None:
        """Look at every seat's session, user and rights again."""
        self._unchecked.update(dict.fromkeys(self._seats))
        self._bell.set()

    # For the waiting room, whose loop may be another

    async def look(self, ids: frozenset[UUID]) -> None:
        self._call(self._hint, ids)

    async def look_everywhere(self) -> None:
        self._call(self._refresh_all)

    # For subclasses

    @abstractmethod
    async def _tell_of(self, ids: frozenset[UUID]) -> None:
        """Read these rows and tell the seats that they concern."""

    @abstractmethod
    async def _tell(self, seats: Sequence[S]) -> None:
        """Read all that these seats show, and tell them what differs."""

    @abstractmethod
    async def _check(self, seats: Sequence[S]) -> None:
        """Expel whose session is over; refresh whose rights have changed."""

    def _forget(self, seat: S) -> None:
        """Drop what is remembered of a seat that was given up."""

    def _expel(self, seat: S, code: int = SESSION_OVER) -> None:
        self.leave(seat)
        seat.outbox.close(code)

    # The one task

    async def _serve(self) -> None:
        """Until nobody has a seat any more. After a failure it begins anew, and reads everything anew."""
        if self._seats:
            room = waiting_room()
            room.ensure_running()
            room.follow(self.topic, self)
            self._checks = self.loop.call_later(CHECK_INTERVAL, self._check_regularly)
            try:
                await self._do_everything()
            finally:
                self._checks.cancel()
                room.unfollow(self.topic, self)
        # Not one await since the last look at the seats: whoever joins from now on starts another task.
        self._task = None
        self._hinted.clear()

    async def _do_everything(self) -> None:
        self._refresh_all()
        while self._seats:
            if not await self._do_next():
                self._bell.clear()
                await self._bell.wait()

    async def _do_next(self) -> bool:
        """Do one bounded piece of work; False: there was none."""
        with self._database.noticed():
            if ids := _taken(self._hinted, HINTS_AT_ONCE):
                await self._tell_of(frozenset(ids))
            elif seats := _taken(self._due, self.refreshed_at_once):
                await self._tell_or_close(seats)
            elif seats := _taken(self._unchecked, CHECKS_AT_ONCE):
                await self._check(seats)
            else:
                return False
        return True

    async def _tell_or_close(self, seats: Sequence[S]) -> None:
        """A seat that can't be read for another reason than an outage must not stop all others for ever."""
        try:
            await self._tell(seats)
        except DatabaseError:
            raise
        except Exception:
            for seat in seats:
                self._expel(seat, FAILED)
            raise

    def _check_regularly(self) -> None:
        self.check_everybody()
        self._checks = self.loop.call_later(CHECK_INTERVAL, self._check_regularly)

    def _refresh_all(self) -> None:
        self.refresh(self._seats)

    def _hint(self, ids: Iterable[UUID]) -> None:
        if self._seats:
            self._hinted.update(dict.fromkeys(ids))
            self._bell.set()

    def _call(self, function: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        if asyncio.get_running_loop() is self.loop:
            function(*args, **kwargs)
        elif not self.loop.is_closed():
            self.loop.call_soon_threadsafe(partial(function, *args, **kwargs))


def _taken(waiting: dict[K, None], most: int) -> list[K]:
    taken = list(islice(waiting, most))
    for each in taken:
        del waiting[each]
    return taken
