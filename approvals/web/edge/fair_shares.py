"""Fair shares of a server's processor time: accounts that use much wait for the others.

Each account may use a third of one processor's time in each server process, and for a moment all of it. The
requests of an account that has used more run one at a time, each followed by a rest of twice its time:
nothing is refused, and others are served. Processor time is counted, so that a busy machine or a slow
database is charged to nobody.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.cookie import parse_cookie

from approvals.conf import approval_settings
from approvals.database.threads import count_time
from approvals.exceptions import RateLimited
from approvals.process.loops import PerLoop
from approvals.web.edge.asgi import Application, Scope, header_lines, own_path
from approvals.web.edge.credentials import bearer_secret
from approvals.web.edge.limits import remember
from approvals.web.edge.long_polling import AGAIN, HOLD

# Processor seconds a second, and how many a quiet account may use at once.
SHARE, BURST = 1 / 3, 1.0
# Seconds of rest for each that was used.
REST = 2.0
# Requests of one account that are worked on together, and that wait for their turn.
TOGETHER, IN_LINE = 8, 1_000

_VISIT = "sayso.visit"


@dataclass(slots=True)
class Visit:
    """One request: its user, once known, and the processor time that it took."""

    user_id: int | None = None
    seconds: float = 0.0


def note_visitor(request: HttpRequest, user_id: int) -> None:
    if visit := getattr(request, "scope", {}).get(_VISIT):
        visit.user_id = user_id


@contextmanager
def meter(request: HttpRequest) -> Iterator[None]:
    """Count this thread's processor time in the block for the request."""
    started = time.thread_time()
    try:
        yield
    finally:
        if visit := getattr(request, "scope", {}).get(_VISIT):
            visit.seconds += time.thread_time() - started


class Share:
    """What one account uses; of one event loop."""

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
        """Hold the account's turn during the block. RateLimited where too many of its requests wait."""
        if self._here >= TOGETHER + IN_LINE:
            raise RateLimited("Too many of your requests are waiting; try again in a moment.")
        self._here += 1
        try:
            async with self._one_of(self._together):
                yield
        finally:
            self._here -= 1

    def poll_turn(self) -> AbstractAsyncContextManager[None]:
        """Hold the turn of a long poll during the block.

        Their line is unbounded, and not that of other requests: a program begins thousands of them at once.
        """
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
        share = self._shares().get(caller) or Share(self._clock)
        remember(self._shares(), caller, share)
        return share


@cache
def of_accounts() -> Shares:
    """Return the shares of accounts in this process, by their ids, over HTTP and by live connections."""
    return Shares()


@asynccontextmanager
async def act_turn(user_id: int) -> AsyncIterator[None]:
    """Hold the user's turn for an act by a live connection during the block, and count its processor time.

    RateLimited where too many of the account's acts wait. What the writer's thread does is not counted.
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


class TakingTurns:
    """ASGI middleware: has accounts, by their session or token, take turns with the others.

    Tokens count below `api` only, where they are accepted. Raises RateLimited before anything is looked up.
    SAYSO_RATE_LIMIT 0: no shares.
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
        """Return a digest of the credential that counts, or None; headers are joined as Django does.

        A second credential, or another spelling of the header, must not make an account look like a new one.
        """
        secret = None
        if own_path(scope).startswith(self._api):
            secret = bearer_secret(",".join(header_lines(scope, b"authorization")))
        if secret is None:
            cookies = parse_cookie("; ".join(header_lines(scope, b"cookie")))
            secret = cookies.get(settings.SESSION_COOKIE_NAME)
        return hashlib.sha256(secret.encode("utf-8", "replace")).digest() if secret else None

    def _share(self, shown: bytes) -> Share:
        return self._shares.of(self._owners.get(shown, shown))

    def _learn(self, shown: bytes, visit: Visit) -> None:
        """Remember whose credential it is, so that all credentials of an account share."""
        if visit.user_id is not None:
            remember(self._owners, shown, visit.user_id)
