"""The re-check: what changed is found without any hint, on the database's clock, late commits included."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError
from pytest_django import Settings

from approvals import queries
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.models import HumanRequest
from approvals.waiting import recheck
from approvals.waiting.outages import Away, Outage
from approvals.waiting.recheck import USUAL_REACH, Recheck
from tests import factories as make
from tests.approvals.waiting.conftest import running
from tests.looking import until

START = datetime(2026, 1, 1, tzinfo=UTC)
OVERLAP = timedelta(seconds=60)


class Clock:
    """The database's clock, set by the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = START
        monkeypatch.setattr(recheck, "database_now", lambda: self.now)

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Source:
    """A topic: remembers how far back it was asked, and answers what the test put there."""

    def __init__(self) -> None:
        self.asked: list[datetime] = []
        self.changed: dict[UUID, int] = {}
        self.failures = 0

    def __call__(self, moment: datetime) -> dict[UUID, int]:
        if self.failures:
            self.failures -= 1
            raise OperationalError("server closed the connection")
        self.asked.append(moment)
        return dict(self.changed)


class Found:
    def __init__(self) -> None:
        self.told: list[tuple[str, list[UUID]]] = []

    def __call__(self, topic: str, ids: Sequence[UUID]) -> None:
        self.told.append((topic, list(ids)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def found() -> Found:
    return Found()


def checking(found: Found, *, hears: Callable[[], bool] = lambda: True, **sources: recheck.Source) -> Recheck:
    loop = asyncio.get_running_loop()
    return Recheck(sources, Outage("database", OperationalError), found, hears, loop)


@pytest.mark.one_stack
@pytest.mark.django_db
class TestReach:
    async def test_each_look_asks_from_the_last_one_and_a_little_before(
        self, clock: Clock, found: Found
    ) -> None:
        source = Source()
        check = checking(found, requests=source).check
        await check()
        clock.advance(2)
        await check()
        clock.advance(2)
        await check()
        assert source.asked[1:] == [START - USUAL_REACH, START + timedelta(seconds=2) - USUAL_REACH]

    @pytest.mark.parametrize("interval", [0.5, 2, 7, 29, 30, 31, 200])
    async def test_whatever_the_interval_the_latest_commit_is_found(
        self, clock: Clock, found: Found, interval: float
    ) -> None:
        """Stamped at any moment, committed up to the whole overlap later: some look after that reaches it."""
        source = Source()
        check = checking(found, requests=source).check
        looks = []
        for _ in range(int(600 / interval) + 1):
            await check()
            looks.append((clock.now, source.asked[-1]))
            clock.advance(interval)
        for seconds in range(300):
            stamped = START + timedelta(seconds=seconds)
            finding = [looked for looked, since in looks if looked >= stamped + OVERLAP and since <= stamped]
            assert finding[0] <= stamped + OVERLAP + timedelta(seconds=30 + interval)

    async def test_most_looks_do_not_reach_back_far(self, clock: Clock, found: Found) -> None:
        """Embedded, a look every other second must not read a minute's changes each time."""
        source = Source()
        check = checking(found, requests=source).check
        far = 0
        for _ in range(60):
            await check()
            far += clock.now - source.asked[-1] >= OVERLAP
            clock.advance(2)
        assert far <= 5

    async def test_a_database_clock_that_was_set_back_hides_nothing(self, clock: Clock, found: Found) -> None:
        source = Source()
        check = checking(found, requests=source).check
        await check()
        clock.advance(-3600)
        await check()
        clock.advance(2)
        await check()
        assert all(since <= clock.now for since in source.asked[1:])

    async def test_an_outage_costs_nothing_but_time(self, clock: Clock, found: Found) -> None:
        source = Source()
        check = checking(found, requests=source).check
        await check()
        source.failures = 1
        clock.advance(20)
        with pytest.raises(Away):
            await check()
        clock.advance(2)
        await check()
        assert source.asked[-1] <= START

    async def test_each_topic_is_told_what_its_own_source_found(self, clock: Clock, found: Found) -> None:
        requests, runs = Source(), Source()
        requests.changed, runs.changed = {uuid4(): 1}, {uuid4(): 1, uuid4(): 1}
        await checking(found, requests=requests, runs=runs).check()
        assert found.told == [("requests", [*requests.changed]), ("runs", [*runs.changed])]

    async def test_a_storm_in_reach_is_told_once_and_each_change_of_it_again(
        self, clock: Clock, found: Found
    ) -> None:
        source = Source()
        check = checking(found, requests=source).check
        source.changed = {uuid4(): 1 for _ in range(100)}
        for _ in range(20):
            await check()
            clock.advance(2)
        assert found.told == [("requests", [*source.changed])]
        again = next(iter(source.changed))
        source.changed[again] = 2
        await check()
        await check()
        assert found.told[1:] == [("requests", [again])]

    async def test_what_came_into_reach_by_a_late_commit_is_told(self, clock: Clock, found: Found) -> None:
        """Between two looks that reach back far, and by the second of them."""
        source = Source()
        check = checking(found, requests=source).check
        source.changed = {uuid4(): 1}
        await check()
        clock.advance(40)
        late = uuid4()
        source.changed[late] = 1
        await check()
        assert found.told[1:] == [("requests", [late])]


@pytest.mark.one_stack
@pytest.mark.django_db
class TestInterval:
    @pytest.fixture(autouse=True)
    def seldom(self, settings: Settings) -> None:
        settings.SAYSO_RECHECK_INTERVAL = 3600.0

    async def test_while_the_listener_is_away_it_looks_every_other_second(self, found: Found) -> None:
        source = Source()
        async with running(checking(found, hears=lambda: False, requests=source).run):
            await until(lambda: len(source.asked) >= 3)

    async def test_when_the_listener_is_lost_it_looks_at_once(self, found: Found) -> None:
        """Not when the long sleep is over that it has begun."""
        source = Source()
        rechecking = checking(found, requests=source)
        async with running(rechecking.run):
            await until(lambda: source.asked)
            rechecking.check_soon()
            await until(lambda: len(source.asked) == 2)


@pytest.mark.django_db
class TestRequests:
    async def test_a_request_that_changed_is_found(self, found: Found) -> None:
        check = checking(found, requests=queries.changed_since).check
        await check()
        assert found.told == []
        request_id = UUID(await in_database(make.approval))
        await check()
        assert found.told == [("requests", [request_id])]

    async def test_a_late_commit_is_found(self, found: Found) -> None:
        """Stamped before the last look, visible only after it."""
        request_id = UUID(await in_database(make.approval))
        check = checking(found, requests=queries.changed_since).check
        await check()
        found.told.clear()
        stamped = await in_database(database_now) - USUAL_REACH / 2
        await in_database(HumanRequest.writing.filter(pk=request_id).update, changed_at=stamped)
        await check()
        assert found.told == [("requests", [request_id])]
