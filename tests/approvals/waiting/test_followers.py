"""Followers: each at its own pace, none at the cost of another, none ever left behind for good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from approvals.waiting import outages
from approvals.waiting.followers import Followers
from tests.approvals.waiting.conftest import running
from tests.looking import until


class Follower:
    """Remembers what it was told; fails as often as it is asked to, and holds still while it is held."""

    def __init__(self) -> None:
        self.looked: list[frozenset[UUID]] = []
        self.looked_everywhere = 0
        self.failures = 0
        self.free = asyncio.Event()
        self.free.set()

    async def look(self, ids: frozenset[UUID]) -> None:
        await self.free.wait()
        self._fail()
        self.looked.append(ids)

    async def look_everywhere(self) -> None:
        self._fail()
        self.looked_everywhere += 1

    @property
    def seen(self) -> set[UUID]:
        return set().union(*self.looked)

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("follower broken")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(outages, "LONGEST_PAUSE", 0.0)


@pytest.fixture
async def followers() -> AsyncIterator[Followers]:
    followers = Followers()
    async with running(followers.run):
        await until(lambda: followers._loop)
        yield followers


async def test_a_follower_is_told_of_its_topic_only(followers: Followers) -> None:
    requests, runs = Follower(), Follower()
    followers.follow("requests", requests)
    followers.follow("runs", runs)
    request_id, run_id = uuid4(), uuid4()
    followers.tell("requests", [request_id])
    followers.tell("runs", [run_id])
    followers.tell("nothing", [uuid4()])
    await until(lambda: requests.looked and runs.looked)
    assert (requests.seen, runs.seen) == ({request_id}, {run_id})


async def test_what_comes_while_a_follower_is_busy_is_told_together(followers: Followers) -> None:
    follower = Follower()
    followers.follow("requests", follower)
    follower.free.clear()
    first = uuid4()
    followers.tell("requests", [first])
    for _ in range(5):
        await asyncio.sleep(0)
    later = [uuid4() for _ in range(50)]
    for each in later:
        followers.tell("requests", [each])
    follower.free.set()
    await until(lambda: follower.seen >= set(later))
    assert follower.looked == [frozenset([first]), frozenset(later)]


async def test_a_slow_follower_delays_nobody(followers: Followers) -> None:
    slow, quick = Follower(), Follower()
    slow.free.clear()
    followers.follow("requests", slow)
    followers.follow("requests", quick)
    for _ in range(3):
        request_id = uuid4()
        followers.tell("requests", [request_id])
        await until(lambda request_id=request_id: request_id in quick.seen)  # type: ignore[misc]
    assert slow.looked == []


async def test_a_look_that_failed_is_made_good_by_looking_everywhere(
    followers: Followers, caplog: pytest.LogCaptureFixture
) -> None:
    broken, well = Follower(), Follower()
    broken.failures = 2
    followers.follow("requests", broken)
    followers.follow("requests", well)
    request_id = uuid4()
    followers.tell("requests", [request_id])
    await until(lambda: broken.looked_everywhere)
    assert well.seen == {request_id}
    assert "follower broken" in caplog.text
    assert "Traceback" in caplog.text


async def test_everyone_is_told_to_look_everywhere(followers: Followers) -> None:
    requests, runs = Follower(), Follower()
    followers.follow("requests", requests)
    followers.follow("runs", runs)
    followers.tell_everywhere()
    await until(lambda: requests.looked_everywhere and runs.looked_everywhere)


async def test_who_unfollows_is_told_nothing_more(followers: Followers) -> None:
    gone, still = Follower(), Follower()
    followers.follow("requests", gone)
    followers.follow("requests", still)
    followers.unfollow("requests", gone)
    followers.tell("requests", [uuid4()])
    await until(lambda: still.looked)
    assert gone.looked == []


async def test_unfollowing_during_a_look_lets_it_end(followers: Followers) -> None:
    follower = Follower()
    followers.follow("requests", follower)
    follower.free.clear()
    followers.tell("requests", [uuid4()])
    for _ in range(5):
        await asyncio.sleep(0)
    followers.unfollow("requests", follower)
    followers.tell("requests", [uuid4()])
    follower.free.set()
    await until(lambda: follower.looked)
    await asyncio.sleep(0)
    assert len(follower.looked) == 1


async def test_many_ids_are_told_in_bounded_sets(followers: Followers) -> None:
    follower = Follower()
    followers.follow("requests", follower)
    ids = {uuid4() for _ in range(2500)}
    followers.tell("requests", ids)
    await until(lambda: follower.seen == ids)
    assert max(map(len, follower.looked)) <= 1000


async def test_who_follows_before_or_between_runs_is_told_in_the_next() -> None:
    followers, follower = Followers(), Follower()
    followers.follow("requests", follower)
    for _ in range(2):
        followers.tell("requests", [uuid4()])  # not running: nobody is told, the next start looks everywhere
        request_id = uuid4()
        async with running(followers.run):
            await until(lambda: followers._loop)
            followers.tell("requests", [request_id])
            await until(lambda: follower.looked)
        assert follower.looked.pop() == {request_id}
