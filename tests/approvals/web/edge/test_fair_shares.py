"""Who uses much of a server's time goes one at a time, and rests in between; nobody else waits for that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from django.test import RequestFactory

from approvals.exceptions import RateLimited
from approvals.web.edge import fair_shares
from approvals.web.edge.fair_shares import Shares, TakingTurns
from approvals.web.edge.long_polling import FewPasses, HoldingAnswers
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
        fair_shares.note_visitor(request, scope["user"])
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

    monkeypatch.setattr("approvals.web.edge.fair_shares.asyncio.sleep", rest)
    return rests


async def ask(
    shared: Any,
    *,
    by: str = "a token",
    user: int = USER,
    seconds: float = 0.0,
    path: str = "/api/requests",
    headers: Sequence[tuple[bytes, bytes]] | None = None,
) -> None:
    if headers is None:
        headers = [(b"authorization", f"Bearer {by}".encode())] if by else []
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "headers": headers,
        "user": user,
        "seconds": seconds,
    }
    await shared(scope, asyncio.Event().wait, None)


async def use_up(shared: TakingTurns, work: Work, **who: Any) -> None:
    work.go.set()
    await ask(shared, seconds=2 * fair_shares.BURST, **who)
    work.go.clear()


async def test_who_has_used_much_goes_one_at_a_time(work: Work, clock: Clock, rests: list[float]) -> None:
    """And rests after each for twice as long as it took."""
    shared = TakingTurns(work, api="/api/", shares=Shares(clock))
    await use_up(shared, work)
    work.most = 0
    work.go.set()
    await asyncio.gather(*(ask(shared, seconds=0.3) for _ in range(5)))
    assert (work.done, work.most) == (6, 1)
    assert rests == pytest.approx([4 * fair_shares.BURST, 0.6, 0.6, 0.6, 0.6])


async def test_others_do_not_wait_for_that(work: Work, clock: Clock, rests: list[float]) -> None:
    shared = TakingTurns(work, api="/api/", shares=Shares(clock))
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
    shared = TakingTurns(work, api="/api/", shares=Shares(clock))
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


SESSION = (b"cookie", b"sessionid=a")
TOKEN = (b"authorization", b"Bearer a")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", [SESSION, (b"cookie", b"theme=%d")]),
        ("/", [(b"cookie", b"theme=%d"), SESSION]),
        ("/", [(b"cookie", b"theme=%d; sessionid=a")]),
        ("/", [SESSION, (b"authorization", b"Bearer %d")]),
        ("/", [SESSION, (b"authorization", b"Basic %d")]),
        ("/api/requests", [SESSION, (b"authorization", b"Basic %d")]),
        ("/api/requests", [TOKEN, (b"cookie", b"sessionid=%d")]),
    ],
)
async def test_what_is_shown_beside_it_makes_nobody_new(
    work: Work, clock: Clock, rests: list[float], path: str, headers: list[tuple[bytes, bytes]]
) -> None:
    """A session or token that is believed is the same one, whatever comes with it."""
    shared = TakingTurns(work, api="/api/", shares=Shares(clock))

    async def ask_otherwise(number: int, **cost: Any) -> None:
        shown = [(name, value.replace(b"%d", b"%d" % number)) for name, value in headers]
        await ask(shared, path=path, headers=shown, **cost)

    work.go.set()
    await ask_otherwise(0, seconds=2 * fair_shares.BURST)
    work.most = 0
    await asyncio.gather(*(ask_otherwise(number) for number in range(1, 5)))
    assert (work.done, work.most) == (5, 1)


@pytest.mark.parametrize("spelled", [b"bearer a", b"Bearer   a", b"BEARER a "])
async def test_a_token_spelled_otherwise_is_the_same(
    work: Work, clock: Clock, rests: list[float], spelled: bytes
) -> None:
    shared = TakingTurns(work, api="/api/", shares=Shares(clock))
    await use_up(shared, work, headers=[TOKEN])
    work.go.set()
    work.most = 0
    await asyncio.gather(*(ask(shared, headers=[(b"authorization", each)]) for each in (TOKEN[1], spelled)))
    assert work.most == 1


async def test_who_shares_a_proxys_password_shares_nothing_else(work: Work, clock: Clock) -> None:
    shared = TakingTurns(work, api="/api/", shares=Shares(clock))
    proxys = (b"authorization", b"Basic c2F5c286c2F5c28=")
    async with asyncio.TaskGroup() as tasks:
        for number in range(fair_shares.TOGETHER + 1):
            own = (b"cookie", b"sessionid=%d" % number)
            tasks.create_task(ask(shared, path="/", headers=[proxys, own], user=number))
        await work.until(fair_shares.TOGETHER + 1)
        work.go.set()


async def test_a_small_request_cuts_no_rest_short(work: Work, clock: Clock, rests: list[float]) -> None:
    known = Shares(clock)
    shared = TakingTurns(work, api="/api/", shares=known)
    await use_up(shared, work)
    known.of(USER).charge(0.01)
    work.go.set()
    await ask(shared)
    assert rests == [pytest.approx(4 * fair_shares.BURST)]


async def test_polls_that_wait_for_their_turn_keep_nobody_elses_place(
    work: Work, clock: Clock, rests: list[float]
) -> None:
    """However many of an account are in line, which has no end for them."""
    shared = HoldingAnswers(
        TakingTurns(FewPasses(work), api="/api/", shares=Shares(clock)), endings={"GET": ("/outcome",)}
    )
    many = 2 * (fair_shares.TOGETHER + fair_shares.IN_LINE)
    work.go.set()
    await ask(shared, seconds=2 * fair_shares.BURST)
    work.go.clear()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(many):
            tasks.create_task(ask(shared, path="/api/outcome"))
        await work.until(1)
        tasks.create_task(ask(shared, path="/api/outcome", by="another's", user=USER + 1))
        await work.until(2)
        work.go.set()
    assert work.done == many + 2


async def test_what_was_used_is_forgotten_with_time(work: Work, clock: Clock, rests: list[float]) -> None:
    shared = TakingTurns(work, api="/api/", shares=Shares(clock))
    await use_up(shared, work)
    clock.now += 2 * fair_shares.BURST / fair_shares.SHARE
    async with asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(ask(shared))
        await work.until(2)
        work.go.set()
    assert rests == []


async def test_too_many_in_line_are_refused(work: Work, clock: Clock) -> None:
    shared = TakingTurns(work, api="/api/", shares=Shares(clock))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(fair_shares.TOGETHER + fair_shares.IN_LINE):
            tasks.create_task(ask(shared))
        await work.until(fair_shares.TOGETHER)
        with pytest.raises(RateLimited):
            await ask(shared)
        work.go.set()
    assert work.most == fair_shares.TOGETHER


def test_a_threads_own_work_is_what_counts() -> None:
    request = RequestFactory().get("/")
    visit = fair_shares.Visit()
    request.scope = {"sayso.visit": visit}  # type: ignore[attr-defined]
    with fair_shares.meter(request):
        sum(range(1_000_000))
    assert visit.seconds > 0
