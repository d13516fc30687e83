"""Who uses much of a server's time gives way to the others.

Each account may use a third of one processor's time in each server process, and for a moment all of it. Who
has used more goes one at a time, and rests after each request for twice as long as that took: nothing is
refused, and others are served. Time is a thread's processor time, so a busy machine or a slow database is
nobody's fault.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.cookie import parse_cookie

from approvals.conf import approval_settings
from approvals.database.threads import count_time
from approvals.process.loops import PerLoop
from approvals.web.edge.asgi import Application, Scope
from approvals.web.edge.credentials import bearer_secret
from approvals.web.edge.holding import AGAIN, HOLD
from approvals.web.edge.limits import REMEMBERED, RateLimited
from approvals.web.edge.paths import own_path

# Processor seconds a second, and how many may be used beforehand by who was quiet.
SHARE, BURST = 1 / 3, 1.0
# Seconds of rest for each that was used.
REST = 2.0
# Requests of one account that are worked on together, and that wait for their turn.
TOGETHER, IN_LINE = 8, 1_000

_VISIT = "sayso.visit"


class Visit:
    """One request: whose it turned out to be, and the processor time that it took."""

    __slots__ = ("seconds", "user_id")

    def __init__(self) -> None:
        self.user_id: int | None = None
        self.seconds = 0.0


def note_visitor(request: HttpRequest, user_id: int) -> None:
    """The request is this user's."""
    if visit := getattr(request, "scope", {}).get(_VISIT):
        visit.user_id = user_id


@contextmanager
def meter(request: HttpRequest) -> Iterator[None]:
    """What this thread does meanwhile is done for the request."""
    started = time.thread_time()
    try:
        yield
    finally:
        if visit := getattr(request, "scope", {}).get(_VISIT):
            visit.seconds += time.thread_time() - started


class Share:
    """What one account uses. Of one event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left = BURST
        self._seen = clock()
        self._rested = 0.0
        self._together = asyncio.Semaphore(TOGETHER)
        self._polls_together = asyncio.Semaphore(TOGETHER)
        self._alone = asyncio.Lock()
        self._here = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """While it is one's turn. RateLimited where too many of the account's wait for theirs."""
        if self._here >= TOGETHER + IN_LINE:
            raise RateLimited("Too many of your requests wait here; try again in a moment.")
        self._here += 1
        try:
            async with self._one_of(self._together):
                yield
        finally:
            self._here -= 1

    def poll_turn(self) -> AbstractAsyncContextManager[None]:
        """While it is the turn of one that will wait. A program begins thousands of these at once: their line
        has no end, and is beside that of the others."""
        return self._one_of(self._polls_together)

    def charge(self, seconds: float) -> None:
        self._left = max(self._left - seconds, -BURST)
        # A small one that ends meanwhile cuts no rest short.
        self._rested = max(self._rested, self._clock() + REST * seconds)

    @asynccontextmanager
    async def _one_of(self, together: asyncio.Semaphore) -> AsyncIterator[None]:
        async with AsyncExitStack() as turns:
            await turns.enter_async_context(together)
            if self._is_used_up():
                await turns.enter_async_context(self._alone)
                await asyncio.sleep(max(0.0, self._rested - self._clock()))
            yield

    def _is_used_up(self) -> bool:
        now = self._clock()
        self._left = min(BURST, self._left + (now - self._seen) * SHARE)
        self._seen = now
        return self._left <= 0


class Shares:
    """The shares of all accounts, and of callers who are not known yet; of one event loop at a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._shares = PerLoop[OrderedDict[Hashable, Share]](OrderedDict)

    def of(self, caller: Hashable) -> Share:
        shares = self._shares()
        if caller not in shares:
            shares[caller] = Share(self._clock)
            _bound(shares)
        shares.move_to_end(caller)
        return shares[caller]


@cache
def of_accounts() -> Shares:
    """What accounts use of this process, by their ids, over HTTP and by live connections."""
    return Shares()


@asynccontextmanager
async def act_turn(user_id: int) -> AsyncIterator[None]:
    """While it is the turn of something that the user does by a live connection; it is counted.

    RateLimited where too much of the account's waits. What the writer's thread does is not counted.
    """
    if not approval_settings().rate_limit:
        yield
        return
    share = of_accounts().of(user_id)
    async with share.turn():
        with count_time() as used:
            try:
                yield
            finally:
                share.charge(used.seconds)


class Shared:
    """ASGI middleware: has whoever shows a session or a token take turns with the others.

    Tokens count below `api` only, where they are believed. Raises RateLimited before it asks anybody. Where
    SAYSO_RATE_LIMIT is nought there are no shares.
    """

    def __init__(self, application: Application, *, api: str, shares: Shares | None = None) -> None:
        self._application = application
        self._api = api
        self._shares = shares or of_accounts()
        self._owners: OrderedDict[bytes, int] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        shown = self._shown(scope) if approval_settings().rate_limit and AGAIN not in scope else None
        if shown is None:
            await self._application(scope, receive, send)
            return
        visit = Visit()
        share = self._share(shown)
        async with share.poll_turn() if HOLD in scope else share.turn():
            try:
                await self._application({**scope, _VISIT: visit}, receive, send)
            finally:
                self._learn(shown, visit)
                self._share(shown).charge(visit.seconds)

    def _shown(self, scope: Scope) -> bytes | None:
        """A digest of the token or the session that counts: what is shown beside it, or in another spelling,
        must make nobody look like somebody new."""
        secret = None
        if own_path(scope).startswith(self._api):
            secret = bearer_secret(_joined(scope, b"authorization", ","))
        if secret is None:
            secret = parse_cookie(_joined(scope, b"cookie", "; ")).get(settings.SESSION_COOKIE_NAME)
        return hashlib.sha256(secret.encode("utf-8", "replace")).digest() if secret else None

    def _share(self, shown: bytes) -> Share:
        return self._shares.of(self._owners.get(shown, shown))

    def _learn(self, shown: bytes, visit: Visit) -> None:
        """All sessions and tokens of an account share; whose one is, its first request tells."""
        if visit.user_id is not None:
            self._owners[shown] = visit.user_id
            _bound(self._owners)


def _bound(remembered: OrderedDict[Any, Any]) -> None:
    if len(remembered) > REMEMBERED:
        remembered.popitem(last=False)


def _joined(scope: Scope, name: bytes, between: str) -> str:
    """All the lines of a header, as Django joins them."""
    return between.join(value.decode("latin-1") for key, value in scope["headers"] if key == name)
