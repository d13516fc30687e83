"""The waiting room as a whole: every wait ends with what is on record, whatever was lost on the way."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from pytest_django import Settings

from approvals import deciding, gate, queries
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.domain.commands import Actor, Expire
from approvals.domain.lifecycle import Outcome
from approvals.exceptions import InvalidRequest, StillPending, UnknownRequest
from approvals.models import HumanRequest
from approvals.process import hints
from approvals.process.hints import Hint
from approvals.waiting import outages
from approvals.waiting.waiting_room import WaitingRoom, close_waiting_room, waiting_room
from approvals.writer import queue
from tests import factories as make
from tests.conftest import Manage
from tests.looking import until
from tests.servers import PostgresServer, RedisServer
from tests.stacks import Stack

pytestmark = pytest.mark.django_db

PROGRAM = Actor.program()
NEVER = 3600.0


@pytest.fixture(autouse=True)
def by_hints_alone(settings: Settings) -> None:
    """No re-check helps, unless a test says otherwise."""
    settings.SAYSO_RECHECK_INTERVAL = NEVER


async def approval(**terms: Any) -> str:
    return await in_database(make.approval, **terms)


async def waiting(room: WaitingRoom, *ids: str, **terms: Any) -> list[asyncio.Task[Outcome]]:
    """Tasks that wait for these ids; all of them are registered and have looked once."""
    tasks = [asyncio.create_task(room.wait(each, **terms)) for each in ids]
    await until(lambda: len(room) == len(ids))
    await looked(room)
    return tasks


async def looked(room: WaitingRoom) -> None:
    """Return when everything that was asked so far has been looked at: a new wait is looked at last."""
    with pytest.raises(UnknownRequest):
        await room.wait(uuid4())


class TestWait:
    @pytest.mark.every_stack
    async def test_a_decision_wakes_who_waits(self, room: WaitingRoom) -> None:
        request_id = await approval()
        (task,) = await waiting(room, request_id)
        decided = await deciding.adecide(PROGRAM, request_id, "approve", comment="fine")
        assert await task == decided
        assert len(room) == 0

    async def test_a_decision_before_the_wait_is_not_missed(self, room: WaitingRoom) -> None:
        request_id = await approval()
        decided = await deciding.adecide(PROGRAM, request_id, "reject")
        assert await room.wait(request_id) == decided

    async def test_decisions_that_race_with_the_wait_are_not_missed(self, room: WaitingRoom) -> None:
        ids = [await approval() for _ in range(50)]
        waits = [asyncio.create_task(room.wait(each)) for each in ids]
        decisions = [asyncio.create_task(deciding.adecide(PROGRAM, each, "approve")) for each in ids]
        assert [outcome.request_id for outcome in await asyncio.gather(*waits)] == ids
        await asyncio.gather(*decisions)
        assert len(room) == 0

    async def test_an_unknown_request_is_named(self, room: WaitingRoom) -> None:
        unknown = uuid4()
        with pytest.raises(UnknownRequest, match=str(unknown)):
            await room.wait(unknown)
        with pytest.raises(UnknownRequest, match="plan-7"):
            await room.wait("plan-7")
        assert len(room) == 0

    async def test_a_cancelled_wait_leaves_the_request_pending(self, room: WaitingRoom) -> None:
        request_id = await approval()
        (task,) = await waiting(room, request_id)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(room) == 0
        assert not (await gate.aoutcome(request_id)).closed

    async def test_everyone_who_waits_for_a_request_is_woken(self, room: WaitingRoom) -> None:
        request_id = await approval()
        tasks = [asyncio.create_task(room.wait(request_id)) for _ in range(10)]
        await until(lambda: len(room) == 10)
        decided = await deciding.adecide(PROGRAM, request_id, "approve")
        assert await asyncio.gather(*tasks) == [decided] * 10

    async def test_many_at_once_are_woken(self, room: WaitingRoom) -> None:
        ids = [await approval() for _ in range(200)]
        tasks = await waiting(room, *ids)
        await deciding.adecide_many(PROGRAM, [(each, "approve") for each in ids])
        outcomes = await asyncio.gather(*tasks)
        assert all(outcome.approved for outcome in outcomes)

    async def test_waits_cost_no_thread_task_or_timer_each(self, room: WaitingRoom) -> None:
        """Nothing per wait but the waiter itself. The room, the database and Redis have a few of their own,
        which come and go."""
        ids = [await approval(timeout=None) for _ in range(3)]
        waits = await waiting(room, *ids)
        loop: Any = asyncio.get_running_loop()
        threads, tasks, timers = threading.active_count(), len(asyncio.all_tasks()), len(loop._scheduled)
        more = [asyncio.create_task(room.wait(each)) for each in ids for _ in range(300)]
        await until(lambda: len(room) == 903)
        await looked(room)
        assert threading.active_count() <= threads + 8  # the database's threads, at most
        assert len(asyncio.all_tasks()) <= tasks + len(more) + 20
        assert len(loop._scheduled) <= timers + 20
        for task in [*waits, *more]:
            task.cancel()
        await asyncio.wait([*waits, *more])
        assert len(room) == 0


class TestPatience:
    async def test_it_ends_the_wait_and_not_the_request(self, room: WaitingRoom) -> None:
        request_id = await approval()
        with pytest.raises(StillPending) as raised:
            await room.wait(request_id, patience=0.05)
        assert raised.value.outcome == await gate.aoutcome(request_id)
        assert raised.value.outcome
        assert not raised.value.outcome.closed
        assert len(room) == 0

    async def test_without_any_it_is_one_look(self, room: WaitingRoom) -> None:
        request_id = await approval()
        with pytest.raises(StillPending):
            await room.wait(request_id, patience=0)
        decided = await deciding.adecide(PROGRAM, request_id, "approve")
        assert await room.wait(request_id, patience=0) == decided
        with pytest.raises(UnknownRequest):
            await room.wait(uuid4(), patience=0)

    @pytest.mark.parametrize("patience", [-1, math.nan])
    async def test_nonsense_is_refused(self, room: WaitingRoom, patience: float) -> None:
        with pytest.raises(InvalidRequest) as raised:
            await room.wait(uuid4(), patience=patience)
        assert raised.value.field == "patience"


class TestDeadline:
    async def test_the_timeout_is_recorded_and_wakes(self, room: WaitingRoom) -> None:
        request_id = await approval(timeout=0.3, on_timeout="approve")
        outcome = await room.wait(request_id)
        assert (outcome.status, outcome.approved, outcome.timed_out) == ("timed_out", True, True)
        assert outcome == await gate.aoutcome(request_id)

    async def test_a_deadline_that_passed_before_the_room_was_there_is_recorded(self, stack: Stack) -> None:
        request_id = await approval(timeout=0.01)
        room = waiting_room()
        await room.start()
        assert (await room.wait(request_id)).timed_out
        await room.stop()


class TestLostHints:
    @pytest.mark.every_stack
    async def test_the_recheck_finds_what_a_lost_hint_was_about(
        self, settings: Settings, deaf_and_dumb: None, room: WaitingRoom
    ) -> None:
        request_id = await approval()
        (task,) = await waiting(room, request_id)
        settings.SAYSO_RECHECK_INTERVAL = 0.05
        await room.stop()
        await room.start()
        decided = await deciding.adecide(PROGRAM, request_id, "approve")
        assert await task == decided

    async def test_a_timeout_that_another_process_recorded_is_looked_at_when_it_is_due(
        self, deaf_and_dumb: None, room: WaitingRoom, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not at the next re-check, which is an hour away here."""
        original = queries.overdue

        def recorded_by_another(limit: int) -> list[UUID]:
            for each in original(limit):
                queue.submit(Expire(request_id=each)).result()
            return original(limit)

        monkeypatch.setattr(queries, "overdue", recorded_by_another)
        request_id = await approval(timeout=0.3)
        assert (await room.wait(request_id)).timed_out

    async def test_looking_everywhere_finds_what_even_the_recheck_can_not(
        self, deaf_and_dumb: None, room: WaitingRoom
    ) -> None:
        """Stamped long ago, committed now."""
        request_id = await approval()
        (task,) = await waiting(room, request_id)
        await deciding.adecide(PROGRAM, request_id, "approve")
        long_ago = await in_database(database_now) - timedelta(days=1)
        await in_database(HumanRequest.writing.filter(pk=request_id).update, changed_at=long_ago)
        assert room._supervisor
        room._supervisor._everywhere.wake()
        assert (await task).approved

    async def test_a_hint_says_nothing_but_look(self, room: WaitingRoom) -> None:
        """Early, repeated, foreign or pointless hints wake nobody before the row is closed."""
        request_id, other_id = await approval(), await approval()
        (task,) = await waiting(room, request_id)
        misleading: list[list[UUID | str]] = [
            [request_id] * 3,
            [other_id, request_id],
            [uuid4()],
            [request_id, uuid4(), other_id],
        ]
        for ids in misleading:
            hints.send("requests", ids)
            hints.send("runs", ids)
        await looked(room)
        assert not task.done()
        decided = await deciding.adecide(PROGRAM, request_id, "approve")
        for _ in range(3):
            hints.send("requests", [request_id])
        assert await task == decided

    @pytest.mark.every_stack
    async def test_a_hint_of_another_process_is_followed_at_once(
        self, stack: Stack, deaf_and_dumb: None, other_process: Any, room: WaitingRoom
    ) -> None:
        request_id = await approval()
        (task,) = await waiting(room, request_id)
        decided = await deciding.adecide(PROGRAM, request_id, "approve")
        hint = Hint(topic="requests", ids=(uuid4(), UUID(request_id)), sender="another")
        while not task.done():
            await other_process.group_send(hints.GROUP, hint.to_wire())
            for _ in range(100):
                await asyncio.sleep(0)
        assert await task == decided

    @pytest.mark.every_stack
    async def test_a_command_in_another_process_wakes_this_one(
        self, stack: Stack, settings: Settings, manage: Manage
    ) -> None:
        """At once with Redis; in memory, which no other process shares, within the re-check's interval."""
        settings.SAYSO_RECHECK_INTERVAL = 0.2 if stack.layer == "memory" else NEVER
        reviewer = await in_database(make.reviewer)
        room = waiting_room()
        await room.start()
        request_id = await approval()
        (task,) = await waiting(room, request_id)
        with ThreadPoolExecutor(1) as thread:
            process = manage("decide", request_id, "approve", "--as", reviewer.username)
            status = asyncio.wrap_future(thread.submit(process.wait))
            outcome = await task
            assert await status == 0
        assert (outcome.approved, outcome.decided_by) == (True, reviewer.username)
        await room.stop()


class TestLoops:
    async def test_waiters_on_other_loops_are_woken(self, room: WaitingRoom) -> None:
        ids = [await approval() for _ in range(4)]
        with ThreadPoolExecutor(4) as threads:
            waits = [asyncio.wrap_future(threads.submit(asyncio.run, room.wait(each))) for each in ids]
            await until(lambda: len(room) == 4)
            await deciding.adecide_many(PROGRAM, [(each, "approve") for each in ids])
            outcomes = await asyncio.gather(*waits)
        assert [outcome.request_id for outcome in outcomes] == ids
        assert room.loop is asyncio.get_running_loop()

    def test_without_a_server_the_first_wait_starts_a_thread(self, stack: Stack) -> None:
        request_id = make.approval(timeout=0.2)
        assert asyncio.run(gate.wait_for_outcome(request_id)).timed_out
        assert waiting_room().running
        assert "sayso-waiting-room" in thread_names()
        assert asyncio.run(gate.wait_for_outcome(make.approval(timeout=0.2))).timed_out
        assert thread_names().count("sayso-waiting-room") == 1
        close_waiting_room()
        assert not waiting_room().running

    def test_several_threads_wait_before_anything_runs(self, stack: Stack) -> None:
        ids = [make.approval(timeout=0.3) for _ in range(4)]
        with ThreadPoolExecutor(4) as threads:
            waits = [threads.submit(asyncio.run, gate.wait_for_outcome(each)) for each in ids]
            assert all(wait.result().timed_out for wait in waits)
        assert thread_names().count("sayso-waiting-room") == 1

    async def test_starting_moves_a_room_out_of_its_thread(self, stack: Stack) -> None:
        """Followers are called on the loop that started the room; who waits does not notice."""
        room = waiting_room()
        request_id = await approval()
        (task,) = await waiting(room, request_id)
        assert room.loop is not asyncio.get_running_loop()
        await room.start()
        assert room.loop is asyncio.get_running_loop()
        await until(lambda: "sayso-waiting-room" not in thread_names())
        await deciding.adecide(PROGRAM, request_id, "approve")
        assert (await task).approved
        await room.stop()

    async def test_starting_twice_is_starting_once(self, room: WaitingRoom) -> None:
        kept = works_kept_running()
        await room.start()
        assert works_kept_running() == kept > 0

    async def test_who_waits_while_the_room_stands_still_is_served_when_it_starts(
        self, room: WaitingRoom
    ) -> None:
        request_id = await approval()
        (task,) = await waiting(room, request_id)
        for _ in range(3):
            await room.stop()
            assert not room.running
            await room.start()
        await room.stop()
        decided = await deciding.adecide(PROGRAM, request_id, "approve")
        await room.start()
        assert await task == decided

    def test_it_runs_on_one_loop_after_another(self, stack: Stack) -> None:
        """Also where a loop ended without stopping it."""
        room = waiting_room()

        async def served(*, stop: bool) -> bool:
            await room.start()
            request_id = await approval()
            (task,) = await waiting(room, request_id)
            await deciding.adecide(PROGRAM, request_id, "approve")
            outcome = await task
            if stop:
                await room.stop()
            return bool(outcome.approved)

        for stop in (True, False, True, False):
            assert asyncio.run(served(stop=stop))
            assert not room.running
            assert len(room) == 0

    def test_stopping_takes_no_loop_along(self, stack: Stack) -> None:
        """After the server's loop the next wait is served from a thread."""
        room = waiting_room()
        asyncio.run(ended_with(room.start()))
        assert asyncio.run(room.wait(make.approval(timeout=0.2))).timed_out


class TestFollowers:
    class Follower:
        def __init__(self) -> None:
            self.seen: set[UUID] = set()
            self.looked_everywhere = 0
            self.loops: set[asyncio.AbstractEventLoop] = set()

        async def look(self, ids: frozenset[UUID]) -> None:
            self.loops.add(asyncio.get_running_loop())
            self.seen |= ids

        async def look_everywhere(self) -> None:
            self.looked_everywhere += 1

    async def test_they_are_told_of_changes_here_and_elsewhere(
        self, other_process: Any, room: WaitingRoom
    ) -> None:
        follower = self.Follower()
        room.follow("requests", follower)
        request_id = UUID(await approval())
        await until(lambda: request_id in follower.seen)
        elsewhere = uuid4()
        hint = Hint(topic="requests", ids=(elsewhere,), sender="another")
        while elsewhere not in follower.seen:
            await other_process.group_send(hints.GROUP, hint.to_wire())
            for _ in range(100):
                await asyncio.sleep(0)
        assert follower.loops == {asyncio.get_running_loop()}

    async def test_the_recheck_asks_a_topics_own_source(self, settings: Settings, stack: Stack) -> None:
        settings.SAYSO_RECHECK_INTERVAL = 0.05
        follower, run_id = self.Follower(), uuid4()
        room = waiting_room()
        room.set_topic_source("runs", lambda moment: {run_id: moment})
        room.follow("runs", follower)
        await room.start()
        await until(lambda: run_id in follower.seen)
        await room.stop()

    async def test_one_that_fails_keeps_nobody_waiting(
        self, room: WaitingRoom, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Broken:
            async def look(self, ids: frozenset[UUID]) -> None:
                raise RuntimeError("broken")

            async def look_everywhere(self) -> None:
                raise RuntimeError("broken")

        monkeypatch.setattr(outages, "FIRST_PAUSE", 0.0)
        room.follow("requests", Broken())
        request_id = await approval()
        (task,) = await waiting(room, request_id)
        await deciding.adecide(PROGRAM, request_id, "approve")
        assert (await task).approved
        await until(lambda: "RuntimeError: broken" in caplog.text)


class TestOutages:
    @pytest.mark.stacks("postgresql-redis")
    async def test_sessions_that_the_database_ends_hurt_no_wait(
        self, private_postgres: PostgresServer
    ) -> None:
        room = waiting_room()
        await room.start()
        request_id = await approval()
        (task,) = await waiting(room, request_id)
        private_postgres.flush()
        await deciding.adecide(PROGRAM, request_id, "approve")
        assert (await task).approved
        await room.stop()

    @pytest.mark.stacks("postgresql-redis")
    async def test_waits_outlive_the_database(
        self,
        private_postgres: PostgresServer,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Stopped across a deadline and started again: no outcome meanwhile, then the timeout."""
        caplog.set_level(logging.INFO)
        monkeypatch.setattr(outages, "LONGEST_PAUSE", 0.5)
        settings.SAYSO_RECHECK_INTERVAL = 0.1
        room = waiting_room()
        await room.start()
        overdue, open_still = await approval(timeout=10), await approval(timeout=600)
        tasks = await waiting(room, overdue, open_still)
        private_postgres.stop()
        with pytest.raises(StillPending) as raised:
            await room.wait(open_still, patience=11)
        assert raised.value.outcome is None
        assert not any(task.done() for task in tasks)
        private_postgres.start()
        assert (await tasks[0]).timed_out
        await deciding.adecide(PROGRAM, open_still, "approve")
        assert (await tasks[1]).approved
        await room.stop()
        assert caplog.text.count("database does not answer") <= 1  # none, where the pool bridged it
        assert caplog.text.count("database answers again") <= 1

    @pytest.mark.alone
    @pytest.mark.stacks("sqlite-redis", "postgresql-redis")
    async def test_a_frozen_redis_delays_neither_decision_nor_waiter(
        self, private_redis: RedisServer, settings: Settings
    ) -> None:
        room = waiting_room()
        await room.start()
        request_id = await approval()
        (task,) = await waiting(room, request_id)
        private_redis.freeze()
        async with asyncio.timeout(2):
            await deciding.adecide(PROGRAM, request_id, "approve")
            assert (await task).approved
        private_redis.thaw()
        await room.stop()

    @pytest.mark.stacks("sqlite-redis", "postgresql-redis")
    async def test_a_room_starts_without_redis(self, private_redis: RedisServer) -> None:
        private_redis.stop()
        room = waiting_room()
        await room.start()
        request_id = await approval()
        (task,) = await waiting(room, request_id)
        await deciding.adecide(PROGRAM, request_id, "approve")
        assert (await task).approved
        await room.stop()

    @pytest.mark.stacks("sqlite-redis", "postgresql-redis")
    async def test_what_was_decided_while_redis_was_away_is_found(
        self, private_redis: RedisServer, settings: Settings, manage: Manage
    ) -> None:
        """By another process, which could tell nobody."""
        settings.SAYSO_RECHECK_INTERVAL = 0.2
        reviewer = await in_database(make.reviewer)
        room = waiting_room()
        await room.start()
        request_id = await approval()
        (task,) = await waiting(room, request_id)
        private_redis.stop()
        with ThreadPoolExecutor(1) as thread:
            process = manage("decide", request_id, "reject", "--as", reviewer.username)
            status = asyncio.wrap_future(thread.submit(process.wait))
            assert (await task).status == "rejected"
            assert await status == 0
        await room.stop()


async def ended_with(starting: Coroutine[Any, Any, None]) -> None:
    await starting


def works_kept_running() -> int:
    return sum(getattr(task.get_coro(), "__name__", "") == "keep_running" for task in asyncio.all_tasks())


def thread_names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]
