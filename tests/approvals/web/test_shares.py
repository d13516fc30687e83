"""Who uses much of a server's time goes one at a time, and rests in between; nobody else waits for that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.test import RequestFactory

from approvals.web import shares
from approvals.web.limits import RateLimited
from approvals.web.shares import Shared
from tests.patience import patience

USER = 7


class Work:
    """What is asked for: takes what it is told to take, once it may go on."""

    def __init__(self) -> None:
        self.here = self.most = self.done = 0
        self.go = asyncio.Event()
        self._news = asyncio.Event()

    async def until(self, number: int) -> None:
        """Until so many are at work."""
        async with asyncio.timeout(patience()):
            while self.here < number:
                self._news.clear()
                await self._news.wait()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = RequestFactory().get("/")
        request.scope = scope  # type: ignore[attr-defined]
        shares.visitor(request, scope["user"])
        visit = scope.get("sayso.visit")
        self.here += 1
        self.most = max(self.most, self.here)
        self._news.set()
        await self.go.wait()
        if visit:
            visit.seconds += scope["seconds"]
        self.here -= 1
        self.done += 1


class Clock:
    """Stands still, unless somebody rests."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> list[float]:
    """How long was rested, each time; no time passes."""
    rests: list[float] = []
    pause = asyncio.sleep

    async def rest(seconds: float) -> None:
        await pause(0)
        if seconds > 0:
            rests.append(seconds)
            clock.now += seconds

    monkeypatch.setattr("approvals.web.shares.asyncio.sleep", rest)
    return rests


async def ask(shared: Shared, *, by: str = "a token", user: int = USER, seconds: float = 0.0) -> None:
    headers = [(b"authorization", f"Bearer {by}".encode())] if by else []
    await shared({"type": "http", "headers": headers, "user": user, "seconds": seconds}, None, None)


async def use_up(shared: Shared, work: Work, **who: Any) -> None:
    work.go.set()
    await ask(shared, seconds=2 * shares.BURST, **who)
    work.go.clear()


async def test_who_has_used_much_goes_one_at_a_time(work: Work, clock: Clock, rests: list[float]) -> None:
    """And rests after each for twice as long as it took."""
    shared = Shared(work, clock=clock)
    await use_up(shared, work)
    work.most = 0
    work.go.set()
    await asyncio.gather(*(ask(shared, seconds=0.3) for _ in range(5)))
    assert (work.done, work.most) == (6, 1)
    assert rests == pytest.approx([4 * shares.BURST, 0.6, 0.6, 0.6, 0.6])


async def test_others_do_not_wait_for_that(work: Work, clock: Clock, rests: list[float]) -> None:
    shared = Shared(work, clock=clock)
    await use_up(shared, work)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ask(shared))
        tasks.create_task(ask(shared))
        tasks.create_task(ask(shared, by="another's", user=USER + 1))
        tasks.create_task(ask(shared, by="", user=0))
        await work.until(3)
        assert work.here == 3
        work.go.set()


async def test_all_sessions_and_tokens_of_an_account_share(
    work: Work, clock: Clock, rests: list[float]
) -> None:
    """Whose one is, its first request tells."""
    shared = Shared(work, clock=clock)
    work.go.set()
    for token in ("first", "second", "third"):
        await ask(shared, by=token)
    await use_up(shared, work, by="first")
    async with asyncio.TaskGroup() as tasks:
        for token in ("first", "second", "third"):
            tasks.create_task(ask(shared, by=token))
        await work.until(1)
        assert work.here == 1
        work.go.set()
    assert work.most == 1


async def test_what_was_used_is_forgotten_with_time(work: Work, clock: Clock, rests: list[float]) -> None:
    shared = Shared(work, clock=clock)
    await use_up(shared, work)
    clock.now += 2 * shares.BURST / shares.SHARE
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(ask(shared))
        await work.until(2)
        work.go.set()
    assert rests == []


async def test_too_many_in_line_are_refused(work: Work, clock: Clock) -> None:
    shared = Shared(work, clock=clock)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(shares.TOGETHER + shares.IN_LINE):
            tasks.create_task(ask(shared))
        await work.until(shares.TOGETHER)
        with pytest.raises(RateLimited):
            await ask(shared)
        work.go.set()
    assert work.most == shares.TOGETHER


def test_a_threads_own_work_is_what_counts() -> None:
    request = RequestFactory().get("/")
    visit = shares.Visit()
    request.scope = {"sayso.visit": visit}  # type: ignore[attr-defined]
    with shares.metered(request):
        sum(range(1_000_000))
    assert visit.seconds > 0
