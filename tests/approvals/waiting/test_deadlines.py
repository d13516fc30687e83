"""The deadline keeper: what is due is recorded once, soon, by whoever notices; nothing is asked too often."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import Error, OperationalError

from approvals import deciding, gate, queries
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.domain.commands import Actor, Expire, Refused, Result
from approvals.exceptions import Busy
from approvals.models import AuditEntry, HumanRequest
from approvals.waiting import deadlines
from approvals.waiting.deadlines import AFTER_NOTHING, LONGEST_SLEEP, DeadlineKeeper
from approvals.waiting.outages import Away, Outage
from approvals.writer import queue
from tests import factories as make
from tests.approvals.waiting.conftest import running
from tests.looking import until, until_seen

pytestmark = pytest.mark.django_db


class Passed:
    """Which deadlines the keeper says have passed."""

    def __init__(self) -> None:
        self.told: list[datetime] = []

    async def __call__(self, deadline: datetime) -> None:
        self.told.append(deadline)


@pytest.fixture
def passed() -> Passed:
    return Passed()


@pytest.fixture
async def keeper(stack: object, passed: Passed) -> DeadlineKeeper:
    return a_keeper(passed)


def a_keeper(passed: Passed) -> DeadlineKeeper:
    return DeadlineKeeper(Outage("database", Error), asyncio.get_running_loop(), passed)


async def opened(*timeouts: float | None) -> list[str]:
    return [await in_database(make.approval, timeout=seconds) for seconds in timeouts]


async def test_without_deadlines_it_asks_now_and_then(keeper: DeadlineKeeper) -> None:
    await opened(None)
    assert await keeper.record_due() == LONGEST_SLEEP


async def test_it_sleeps_until_the_earliest_deadline(keeper: DeadlineKeeper) -> None:
    await opened(500, 9, 12)
    assert 0 < await keeper.record_due() <= 9


async def test_it_never_sleeps_long(keeper: DeadlineKeeper) -> None:
    """The clock it sleeps by stops while the machine is suspended."""
    await opened(5000)
    assert await keeper.record_due() == LONGEST_SLEEP


async def test_what_is_due_is_recorded_with_the_requests_own_default(keeper: DeadlineKeeper) -> None:
    approve = await in_database(make.approval, timeout=0.01, on_timeout="approve")
    answer = await in_database(make.clarification, timeout=0.01, default="none")
    pending = await in_database(make.approval, timeout=500)
    await due(approve, answer)
    assert await keeper.record_due() == 0.0
    approved = await gate.aoutcome(approve)
    assert (approved.status, approved.approved) == ("timed_out", True)
    assert (await gate.aoutcome(answer)).answer == "none"
    assert not (await gate.aoutcome(pending)).closed


async def test_many_that_are_due_are_recorded_in_sets(
    keeper: DeadlineKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "CHUNK", 10)
    sets = []
    original = queue.submit_many

    def remembering(commands: Any) -> Any:
        sets.append(len(commands))
        return original(commands)

    ids = await opened(*[0.01] * 25)
    await due(*ids)
    monkeypatch.setattr(queue, "submit_many", remembering)
    await keeper.record_due()
    assert sets == [10, 10, 5]
    assert await in_database(queries.overdue, 100) == []


async def test_of_many_only_two_sets_are_under_way(
    keeper: DeadlineKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer has the next when it is done with one; what people decide meanwhile queues behind two."""
    monkeypatch.setattr(deadlines, "CHUNK", 10)
    under_way: list[Future[Result]] = []

    def queued(commands: Any) -> list[Future[Result]]:
        futures: list[Future[Result]] = [Future() for _ in commands]
        under_way.extend(futures)
        return futures

    ids = await opened(*[0.01] * 35)
    await due(*ids)
    monkeypatch.setattr(queue, "submit_many", queued)
    keeping = asyncio.create_task(keeper.record_due())
    await until(lambda: len(under_way) == 20)
    for recorded_of_first, queued_then in ((10, 30), (20, 35)):
        for future in under_way[recorded_of_first - 10 : recorded_of_first]:
            future.set_result(Refused(code="unknown_request", detail="gone"))
        await until(lambda: len(under_way) == queued_then)  # noqa: B023  asked at once
    for future in under_way[20:]:
        future.set_result(Refused(code="unknown_request", detail="gone"))
    assert await keeping == AFTER_NOTHING


async def test_while_the_last_set_is_written_the_next_are_read_and_none_is_handed_over_twice(
    keeper: DeadlineKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "AT_ONCE", 10)
    monkeypatch.setattr(deadlines, "CHUNK", 5)
    ids = await opened(*[0.01] * 25)
    await due(*ids)
    handed_over: list[Expire] = []
    under_way: list[Future[Result]] = [Future() for _ in range(5)]
    readings = []
    overdue, submit_many = queries.overdue, queue.submit_many

    def read(limit: int) -> list[UUID]:
        readings.append(overdue(limit))
        return readings[-1]

    def submit(commands: Any) -> list[Future[Result]]:
        handed_over.extend(commands)
        return under_way if len(handed_over) == 10 else submit_many(commands)

    monkeypatch.setattr(queries, "overdue", read)
    monkeypatch.setattr(queue, "submit_many", submit)
    keeping = asyncio.create_task(keeper.record_due())
    await until(lambda: len(readings) == 2)
    results = [await asyncio.wrap_future(each) for each in submit_many(handed_over[5:10])]
    for future, result in zip(under_way, results, strict=True):
        future.set_result(result)
    assert await keeping == 0.0
    assert sorted(str(command.request_id) for command in handed_over) == sorted(ids)


async def test_several_keepers_record_a_timeout_once(keeper: DeadlineKeeper) -> None:
    other = a_keeper(Passed())
    ids = await opened(*[0.01] * 20)
    await due(*ids)
    await asyncio.gather(keeper.record_due(), other.record_due())
    closing = AuditEntry.objects.exclude(outcome="")
    assert await in_database(closing.count) == 20


async def test_when_nothing_can_be_recorded_it_does_not_try_at_once(
    keeper: DeadlineKeeper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def busy(commands: Any) -> Any:
        raise Busy("too many")

    (request_id,) = await opened(0.01)
    await due(request_id)
    monkeypatch.setattr(queue, "submit_many", busy)
    assert await keeper.record_due() == AFTER_NOTHING
    assert "timeouts not recorded due=1" in caplog.text


async def test_an_earlier_deadline_wakes_it(keeper: DeadlineKeeper) -> None:
    await opened(500)
    async with running(keeper.run):
        await until(lambda: keeper._earliest)
        (request_id,) = await opened(0.3)
        keeper.consider(await deadline_of(request_id))
        await recorded(request_id)


async def test_a_later_deadline_leaves_it_asleep(keeper: DeadlineKeeper) -> None:
    await opened(500)
    async with running(keeper.run):
        await until(lambda: keeper._earliest)
        known = keeper._earliest
        assert known
        keeper.consider(known + timedelta(seconds=1))
        await asyncio.sleep(0)
        assert keeper._earliest == known


async def test_a_deadline_that_comes_up_while_the_database_answers_is_not_missed(
    keeper: DeadlineKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer may be older than the request: the keeper asks again instead of sleeping on it."""
    await opened(500)
    new: list[str] = []
    original = queries.next_due

    def raced() -> Any:
        answer = original()
        if not new:
            new.append(make.approval(timeout=0.3))
            keeper.consider(deadlines_of(new[0])[0])
        return answer

    monkeypatch.setattr(queries, "next_due", raced)
    async with running(keeper.run):
        await until(lambda: new)
        await recorded(new[0])


async def test_news_of_other_requests_make_it_ask_before_long(
    keeper: DeadlineKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that another process opened may be due before anything that is known here."""
    monkeypatch.setattr(deadlines, "AFTER_NEWS", 0.0)
    async with running(keeper.run):
        await asyncio.sleep(0)
        (request_id,) = await opened(0.3)
        for _ in range(100):
            keeper.note_changes()
        await recorded(request_id)


async def test_a_decision_in_time_is_not_touched(keeper: DeadlineKeeper) -> None:
    (request_id,) = await opened(500)
    decided = await deciding.adecide(Actor.program(), request_id, "approve")
    assert decided.decided_at
    soon = decided.decided_at + timedelta(milliseconds=1)
    await in_database(HumanRequest.writing.filter(pk=request_id).update, deadline=soon)
    await due(request_id)
    await keeper.record_due()
    assert await gate.aoutcome(request_id) == decided


async def test_what_another_process_recorded_is_looked_at_when_its_deadline_has_passed(
    keeper: DeadlineKeeper, passed: Passed
) -> None:
    """The other's hint may be lost; a deadline that has not passed is nobody's news."""
    (later,) = await opened(500)
    keeper.consider(await deadline_of(later))
    await keeper.record_due()
    assert passed.told == []
    (request_id,) = await opened(0.01)
    deadline = await deadline_of(request_id)
    keeper.consider(deadline)
    await due(request_id)
    await recorded_by_another(request_id)
    await keeper.record_due()
    await keeper.record_due()
    assert passed.told == [deadline]
    assert not (await gate.aoutcome(later)).closed


async def test_what_another_process_records_at_that_moment_is_looked_at_once_it_is_on_record(
    keeper: DeadlineKeeper, passed: Passed, monkeypatch: pytest.MonkeyPatch
) -> None:
    (request_id,) = await opened(0.01)
    deadline = await deadline_of(request_id)
    keeper.consider(deadline)
    await due(request_id)
    original = queries.overdue

    def first(limit: int) -> list[UUID]:
        ids = original(limit)
        for each in ids:
            queue.submit(Expire(request_id=each)).result()
        return ids

    monkeypatch.setattr(queries, "overdue", first)
    await keeper.record_due()
    assert (await gate.aoutcome(request_id)).closed
    assert passed.told == [deadline]


async def test_what_nobody_could_record_is_looked_at_when_another_has(
    keeper: DeadlineKeeper, passed: Passed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(commands: Any) -> Any:
        raise Busy("too many")

    (request_id,) = await opened(0.01)
    await due(request_id)
    with monkeypatch.context() as patched:
        patched.setattr(queue, "submit_many", busy)
        await keeper.record_due()
    await recorded_by_another(request_id)
    await keeper.record_due()
    assert passed.told == [await deadline_of(request_id)]


async def test_an_outage_does_not_make_it_forget_a_deadline(
    keeper: DeadlineKeeper, passed: Passed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> Any:
        raise OperationalError("gone")

    (request_id,) = await opened(0.01)
    deadline = await deadline_of(request_id)
    keeper.consider(deadline)
    await due(request_id)
    with monkeypatch.context() as patched:
        patched.setattr(queries, "next_due", away)
        with pytest.raises(Away):
            await keeper.record_due()
    await recorded_by_another(request_id)
    await keeper.record_due()
    assert passed.told == [deadline]


async def deadline_of(request_id: str) -> datetime:
    (deadline,) = await in_database(deadlines_of, request_id)
    return deadline


def deadlines_of(*ids: str) -> list[datetime]:
    rows = HumanRequest.objects.filter(pk__in=ids, deadline__isnull=False)
    return list(rows.values_list("deadline", flat=True))


async def recorded_by_another(request_id: str) -> None:
    await asyncio.wrap_future(queue.submit(Expire(request_id=UUID(request_id))))


async def due(*ids: str) -> None:
    """Return when the deadlines of these requests have passed, on the database's clock."""
    last = max(await in_database(deadlines_of, *ids))
    await until_seen(lambda: in_database(lambda: database_now() >= last))


async def recorded(request_id: str) -> None:
    while not (await gate.aoutcome(request_id)).closed:
        pass
