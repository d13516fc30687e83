"""What waits in great number: each wait is told once, its cost is told, and nothing is left behind."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import TypeVar

import pytest

from approvals import deciding
from approvals.database.fields import new_id
from approvals.database.threads import in_database
from approvals.domain.commands import Actor
from approvals.waiting.waiting_room import waiting_room
from orchestration.benchmark import baseline
from orchestration.benchmark.load import Decider, Requests, Waiter, Waits, usage
from orchestration.benchmark.processes import Remote
from orchestration.benchmark.report import Check
from orchestration.benchmark.scenarios import deadlines, restart, waiting
from tests import factories as make

R = TypeVar("R", bound=Remote)

PROGRAM = Actor.program()


class TestWaits:
    async def test_each_is_told_and_counted_until_it_is_over(self) -> None:
        futures = {id_: asyncio.get_running_loop().create_future() for id_ in ("a", "b", "c")}

        async def wait(id_: str) -> str:
            return str(await futures[id_])

        waits = Waits(wait)
        assert await waits.begin(list(futures)) > 0
        assert (len(waits), waits.pending()) == (3, 3)
        futures["b"].set_result("approved")
        await waits.finish(["b"])
        assert (waits.told, waits.pending()) == ([("b", "approved")], 2)
        assert set(waits.resumed) == {"b"}
        await waits.cancel()
        assert (waits.told, len(waits)) == ([("b", "approved")], 0)


async def test_what_a_process_uses_while_it_is_idle() -> None:
    cpu, wakeups = await usage(0.01)
    assert cpu >= 0
    assert wakeups >= 0


async def test_those_who_poll_find_their_outcome() -> None:
    polling = await begun(waiting.Baselines)
    await polling.start_polling(["a", "b", "c"])
    assert len(await polling.resume(["a", "c"])) == 2
    assert polling._polling.told == [(id_, "approved") for id_ in polling._polling.resumed]
    await polling.stop_polling()


@pytest.mark.parametrize("contender", [waiting.TASK, waiting.EVENT])
async def test_bare_tasks_are_resumed_each_time(contender: str) -> None:
    bare = await begun(waiting.Baselines)
    for _ in range(2):
        assert min(await bare.measure_tasks(contender, ["a", "b"])) > 0


@pytest.mark.processes
@pytest.mark.django_db
class TestOnRecord:
    """Parts of scenarios, which measure what they do as the benchmark does."""

    @pytest.fixture
    async def ids(self) -> list[str]:
        return [await in_database(make.approval) for _ in range(5)]

    @pytest.fixture
    async def closed(self) -> str:
        request_id = await in_database(make.approval)
        await deciding.adecide(PROGRAM, request_id, "reject")
        return request_id

    @pytest.fixture(autouse=True)
    async def _room(self) -> AsyncIterator[None]:
        yield
        await waiting_room().stop()

    async def test_waiters_are_told_what_is_on_record(self, ids: list[str], closed: str) -> None:
        waiter = await begun(Waiter)
        assert await waiter.wait(ids) > 0
        await waiter.settle(closed)
        decider = await begun(Decider)
        await waiter.start_clock()
        ((called, committed),) = await decider.decide(ids[:1])
        await decider.decide_all(ids[1:])
        assert await waiter.released() > 0
        assert dict(await waiter.told()) == await decider.recorded(ids) == dict.fromkeys(ids, "approved")
        (resumed,) = await waiter.resumed(ids[:1])
        assert resumed is not None
        # In one process the waiter may be resumed before who has decided is.
        assert called < min(committed, resumed)

    async def test_what_is_opened_closed_is_waited_for_in_vain_by_nobody(self) -> None:
        requests = await begun(Requests)
        request_id = await requests.open_closed()
        assert await requests.recorded([request_id]) == {request_id: "approved"}

    async def test_a_wait_whose_request_is_not_on_record_is_lost(self) -> None:
        requests = await begun(Requests)
        vanished = str(new_id())
        check = Check.of([], await requests.recorded([vanished]))
        assert (check.waits, check.lost) == (1, (vanished,))

    @pytest.mark.one_stack  # the memory of tasks is the same on all
    @pytest.mark.parametrize("contender", ["Sayso", "polling", "task on a future", "task on an Event"])
    async def test_scales_leave_nobody_waiting(self, ids: list[str], closed: str, contender: str) -> None:
        scales = await begun(waiting.Scales)
        assert await scales.weigh(contender, ids, closed) > 0
        assert len(waiting_room()) == 0
        assert await scales.read_again(ids) > 0

    @pytest.mark.one_stack  # the memory of tasks is the same on all
    async def test_a_task_on_an_event_weighs_more_than_one_on_a_future(self, closed: str) -> None:
        """By the Event and the coroutine of its `wait`."""
        scales = await begun(waiting.Scales)
        ids = [str(new_id()) for _ in range(100)]
        on_future, on_event = [
            await scales.weigh(contender, ids, closed) for contender in (waiting.TASK, waiting.EVENT)
        ]
        assert on_future < on_event

    async def test_deadlines_fall_due_together(self, ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(deadlines, "AHEAD", 0.2)
        waiter = await begun(deadlines.DueWaiter)
        await waiter.wait(ids)
        recorded, lateness, blocked = await waiter.fall_due(ids)
        assert dict(await waiter.told()) == dict.fromkeys(ids, "timed_out")
        assert len(lateness) == len(ids)
        assert 0 < min(recorded, lateness[0]) <= lateness[-1]
        assert blocked >= 0

    async def test_the_floor_decides_as_many(self) -> None:
        floor = await begun(deadlines.RawDecider)
        assert await floor.decide(700) > 0
        await in_database(baseline.open_requests, 1)
        statuses = Counter((await in_database(baseline.recorded)).values())
        assert statuses["pending"] == 1
        assert statuses.total() == 701

    async def test_who_returns_waits_for_all_that_is_pending(self, ids: list[str], closed: str) -> None:
        returning = await begun(restart.Returning)
        count, moments, _ = await returning.reattach(closed)
        assert count == len(ids)
        assert moments == sorted(moments)
        assert (await restart.Reader().read())[0] == len(ids)
        await deciding.adecide(PROGRAM, ids[2], "approve")
        assert await returning.told(ids[2:3]) == [(ids[2], "approved")]
        await returning._waits.cancel()


async def begun(role: type[R]) -> R:
    part = role()
    await part.begin()
    return part
