"""The outbox worker: every outcome arrives, soon, however receivers, databases and processes behave."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import DataError
from django.db import Error as DatabaseError
from pytest_django import Settings
from standardwebhooks import Webhook

from approvals import deciding
from approvals.database.threads import in_database
from approvals.delivery import outbox_worker as module
from approvals.delivery.outbox_worker import IDLE, LONGEST_SLEEP, Carrier, OutboxWorker
from approvals.delivery.webhooks.messages import Message, secrets_of
from approvals.delivery.webhooks.posting import WebhookCarrier
from approvals.domain.commands import Actor
from approvals.models import Callback, CallbackAttempt
from approvals.process import hints
from approvals.waiting.waiting_room import WaitingRoom, waiting_room
from approvals.writer import callbacks, outboxes
from approvals.writer.callbacks import AT_ONCE, AT_ONE_RECEIVER, Due
from approvals.writer.outboxes import Answer, Attempt
from tests import factories as make
from tests.approvals.delivery.webhooks.outcomes import aclosed, again, attempts, closed, make_due
from tests.approvals.delivery.webhooks.receiver import Posted, Receiver, receiver
from tests.looking import blocked_until
from tests.patience import patience
from tests.processes import free_port
from tests.servers import PostgresServer

pytestmark = pytest.mark.django_db

# Several times as many as may be under way.
MANY = 100

Start = Callable[..., Awaitable[OutboxWorker[Due]]]


@pytest.fixture
async def room(stack: object) -> AsyncIterator[WaitingRoom]:
    """The process's room, running on the test's loop."""
    room = waiting_room()
    await room.start()
    yield room
    await room.stop()


@pytest.fixture
async def start(room: WaitingRoom) -> AsyncIterator[Start]:
    """Start a worker, by default one that really posts; stopped at the end."""
    async with AsyncExitStack() as running:

        async def begin(posting: Carrier[Due] | None = None) -> OutboxWorker[Due]:
            worker = OutboxWorker(room, callbacks.outbox, posting or WebhookCarrier())
            return await running.enter_async_context(_running(worker))

        yield begin


@pytest.fixture(autouse=True)
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again when the test says so."""
    monkeypatch.setattr(outboxes, "BACKOFF", (600.0,))


@asynccontextmanager
async def _running(worker: OutboxWorker[Due]) -> AsyncIterator[OutboxWorker[Due]]:
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


class Counting:
    """A carrier that delivers everything, and counts how much at once."""

    def __init__(self) -> None:
        self.posted: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self._posting = WebhookCarrier()

    async def deliver(self, due: Due) -> Answer:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._posting.deliver(due)
        finally:
            self.at_once -= 1
            self.posted.append(str(due.id))

    def close(self) -> None:
        self._posting.close()


async def came(hook: Receiver, count: int = 1) -> list[Posted]:
    return await asyncio.to_thread(hook.wait_for, count)


async def settled(callback_id: UUID, status: str, attempts: int | None = None) -> Callback:
    """The row, as soon as it is so."""
    while True:
        row: Callback = await in_database(Callback.objects.get, pk=callback_id)
        if row.status == status and row.claimed_until is None and attempts in (None, row.attempts):
            return row


async def due_now(callback_id: UUID) -> None:
    await in_database(make_due, callback_id)


class TestDelivering:
    async def test_an_outcome_is_posted_once_and_can_be_verified(self, start: Start, hook: Receiver) -> None:
        """The main job."""
        await start()
        person = await in_database(make.user)
        callback = await in_database(closed, f"{hook.url}/status/200", requester=person, key="refund-812")
        row = await settled(callback.pk, "delivered")
        (posted,) = hook.posted
        data = Webhook(secrets_of(person.pk)[0]).verify(posted.body, posted.headers)
        assert data["type"] == "request.closed"
        assert data["data"]["key"] == "refund-812"
        assert data["data"]["outcome"]["request_id"] == str(row.request_id)
        assert data["data"]["outcome"]["status"] == "withdrawn"
        assert posted.message_id == str(callback.pk)
        (attempt,) = await in_database(attempts, callback)
        assert (attempt.status_code, attempt.error) == (200, "")
        assert 0 < attempt.seconds < 30

    @pytest.mark.one_stack
    async def test_what_closed_before_it_started_is_posted_when_it_does(
        self, start: Start, hook: Receiver
    ) -> None:
        callback = await in_database(closed, hook.url)
        await start()
        await settled(callback.pk, "delivered")

    @pytest.mark.one_stack
    async def test_a_receiver_that_fails_and_recovers_gets_the_same_message(
        self, start: Start, hook: Receiver
    ) -> None:
        hook.answers = [500, 503]
        await start()
        (callback_id,) = await aclosed(f"{hook.url}/told")
        for number in (1, 2):
            await settled(callback_id, "waiting", number)
            await due_now(callback_id)
        row = await settled(callback_id, "delivered", 3)
        assert len({(posted.message_id, posted.body) for posted in hook.posted}) == 1
        assert [attempt.status_code for attempt in await in_database(attempts, row)] == [500, 503, 200]

    @pytest.mark.one_stack
    async def test_it_comes_back_by_itself_when_a_pause_is_over(
        self, start: Start, hook: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outboxes, "BACKOFF", (0.05,))
        hook.answers = [500] * 5
        await start()
        (callback_id,) = await aclosed(f"{hook.url}/told")
        await settled(callback_id, "delivered", 6)

    @pytest.mark.one_stack
    async def test_a_receiver_that_hangs_gets_it_later(self, start: Start, hook: Receiver) -> None:
        await start(WebhookCarrier(timeout=0.1))
        (callback_id,) = await aclosed(f"{hook.url}/hang")
        row = await settled(callback_id, "waiting", 1)
        (attempt,) = await in_database(attempts, row)
        assert (attempt.status_code, attempt.error) == (None, "There was no answer within 0.1 s.")

    @pytest.mark.one_stack
    async def test_a_receiver_that_is_not_there_gets_it_later(self, start: Start, allowed: None) -> None:
        await start()
        port = free_port()
        (callback_id,) = await aclosed(f"http://127.0.0.1:{port}/")
        await settled(callback_id, "waiting", 1)
        with receiver(port=port) as hook:
            await due_now(callback_id)
            await settled(callback_id, "delivered", 2)
            assert len(hook.posted) == 1

    @pytest.mark.one_stack
    async def test_gone_ends_it_at_once(self, start: Start, hook: Receiver) -> None:
        await start()
        (callback_id,) = await aclosed(f"{hook.url}/status/410")
        await settled(callback_id, "given_up", 1)

    @pytest.mark.one_stack
    async def test_after_a_day_it_is_given_up(self, start: Start, hook: Receiver) -> None:
        hook.answers = [500] * 3
        await start()
        (callback_id,) = await aclosed(f"{hook.url}/told")
        row = await settled(callback_id, "waiting", 1)
        a_day_ago = row.give_up_at - timedelta(hours=24)
        await in_database(Callback.writing.filter(pk=callback_id).update, give_up_at=a_day_ago)
        await due_now(callback_id)
        await settled(callback_id, "given_up", 2)
        assert len(hook.posted) == 2

    @pytest.mark.one_stack
    async def test_a_name_of_a_private_address_gets_nothing(
        self, start: Start, hook: Receiver, settings: Settings
    ) -> None:
        async def private(host: str, port: int) -> Sequence[str]:
            return ["93.184.216.34", "127.0.0.1"]

        settings.SAYSO_CALLBACK_NETWORKS = []
        await start(WebhookCarrier(resolve=private))
        (callback_id,) = await aclosed(f"http://hooks.example.org:{hook.port}/")
        row = await settled(callback_id, "waiting", 1)
        (attempt,) = await in_database(attempts, row)
        assert "not public" in attempt.error
        assert hook.posted == []

    async def test_sent_again_it_has_the_same_id(self, start: Start, hook: Receiver) -> None:
        await start()
        (callback_id,) = await aclosed(f"{hook.url}/told")
        await settled(callback_id, "delivered", 1)
        assert await in_database(callbacks.send_again, callback_id)
        await settled(callback_id, "delivered", 2)
        assert [posted.message_id for posted in hook.posted] == [str(callback_id)] * 2

    async def test_several_outbox_workers_post_once(self, start: Start, hook: Receiver) -> None:
        """As several servers do."""
        for _ in range(3):
            await start()
        ids = await aclosed(*[f"{hook.url}/told"] * 20)
        for callback_id in ids:
            await settled(callback_id, "delivered", 1)
        assert sorted(posted.message_id for posted in hook.posted) == sorted(map(str, ids))


class TestNeverBeforeTheCommit:
    async def test_what_is_not_committed_yet_is_not_posted(
        self, start: Start, hook: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The decision is written, its transaction still open: the worker finds nothing."""
        written, commit = threading.Event(), threading.Event()
        enqueue = callbacks.enqueue

        def slow(*arguments: Any) -> Any:
            found = enqueue(*arguments)
            written.set()
            assert commit.wait(patience())
            return found

        worker = await start()
        request_id = await in_database(make.approval, callback_url=f"{hook.url}/told")
        monkeypatch.setattr(callbacks, "enqueue", slow)
        withdrawal = asyncio.create_task(deciding.awithdraw(Actor.program(), request_id))
        assert await asyncio.to_thread(written.wait, patience())
        for _ in range(3):
            await worker.look_everywhere()
            assert await in_database(worker._claim, AT_ONCE, Counter()) == ([], IDLE)
        assert hook.posted == []
        commit.set()
        await withdrawal
        assert (await came(hook))[0].json["data"]["outcome"]["request_id"] == request_id

    async def test_what_is_rolled_back_is_never_posted(
        self, start: Start, hook: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        enqueue = callbacks.enqueue

        def failing(*arguments: Any) -> Any:
            enqueue(*arguments)
            raise RuntimeError("after the callback was written")

        await start()
        request_id = await in_database(make.approval, callback_url=f"{hook.url}/told")
        monkeypatch.setattr(callbacks, "enqueue", failing)
        with pytest.raises(RuntimeError):
            await deciding.awithdraw(Actor.program(), request_id)
        monkeypatch.setattr(callbacks, "enqueue", enqueue)
        await aclosed(f"{hook.url}/other")
        await came(hook)
        assert [posted.path for posted in hook.posted] == ["/other"]


@pytest.mark.one_stack
class TestManyReceivers:
    async def test_one_that_fails_does_not_delay_the_others(self, start: Start, hook: Receiver) -> None:
        await start()
        failing = await aclosed(*[f"{hook.url}/status/500"] * 30)
        (callback_id,) = await aclosed(f"{hook.url}/status/200")
        await settled(callback_id, "delivered")
        for callback_id in failing:
            await settled(callback_id, "waiting", 1)

    async def test_one_that_hangs_does_not_delay_the_others(self, start: Start, hook: Receiver) -> None:
        """It gets a few at a time: the rest of the places are theirs."""
        await start()
        await aclosed(*[f"{hook.url}/hang"] * 40)
        with receiver() as other:
            for callback_id in await aclosed(*[f"{other.url}/told"] * 20):
                await settled(callback_id, "delivered", 1)
            assert hook.most_at_once <= AT_ONE_RECEIVER
            hook.closing.set()

    async def test_many_at_once_are_posted_a_few_at_a_time(self, start: Start, allowed: None) -> None:
        counting = Counting()
        with ExitStack() as running:
            hooks = [running.enter_context(receiver()) for _ in range(5)]
            ids = await aclosed(*[f"{hooks[number % 5].url}/told" for number in range(MANY)])
            await start(counting)
            await in_database(_until_none_waits)
            assert sorted(counting.posted) == sorted(map(str, ids))
            assert 1 < counting.most_at_once <= AT_ONCE
            assert max(hook.most_at_once for hook in hooks) <= AT_ONE_RECEIVER
            assert await in_database(CallbackAttempt.objects.filter(status_code=200).count) == MANY


class TestTrouble:
    async def test_hints_that_are_lost_are_made_good_by_the_recheck(
        self, start: Start, hook: Receiver, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.SAYSO_RECHECK_INTERVAL = 0.05
        await start()
        monkeypatch.setattr(hints, "send", lambda topic, ids: None)
        (callback_id,) = await aclosed(hook.url)
        await settled(callback_id, "delivered", 1)

    async def test_an_attempt_waits_for_the_database_to_come_back(
        self, private_postgres: PostgresServer, start: Start, hook: Receiver
    ) -> None:
        """The answer came while it was away: it is on record afterwards, and nothing is posted twice."""
        answered = asyncio.Event()

        class Slow(WebhookCarrier):
            async def post(self, url: str, message: Message) -> Answer:
                answer = await super().post(url, message)
                await answered.wait()
                return answer

        await start(Slow())
        (callback_id,) = await aclosed(f"{hook.url}/told")
        await came(hook)
        await asyncio.to_thread(private_postgres.stop)
        answered.set()
        with pytest.raises(DatabaseError):
            await in_database(callbacks.outbox.next_due)
        await asyncio.to_thread(private_postgres.start)
        await settled(callback_id, "delivered", 1)
        assert len(hook.posted) == 1

    @pytest.mark.one_stack
    async def test_a_mistake_of_our_own_fails_one_attempt_only(
        self, start: Start, hook: Receiver, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Mistaken(WebhookCarrier):
            async def post(self, url: str, message: Message) -> Answer:
                if url.endswith("/bad"):
                    raise KeyError("unheard of")
                return await super().post(url, message)

        await start(Mistaken())
        bad, good = await aclosed(f"{hook.url}/bad", f"{hook.url}/good")
        if (await in_database(Callback.objects.get, pk=bad)).url.endswith("/good"):
            bad, good = good, bad
        await settled(good, "delivered", 1)
        (attempt,) = await in_database(attempts, await settled(bad, "waiting", 1))
        assert attempt.error == "The delivery failed here: KeyError."
        assert "unheard of" in caplog.text

    async def test_attempts_that_cannot_be_recorded_hold_up_nothing(
        self, start: Start, hook: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        record = callbacks.outbox.record

        def refusing(made: Any) -> None:
            if made:
                monkeypatch.setattr(callbacks.outbox, "record", record)
                raise DataError("no such value")

        monkeypatch.setattr(callbacks.outbox, "record", refusing)
        await start()
        (first,) = await aclosed(hook.url)
        await came(hook)
        (second,) = await aclosed(hook.url)
        await settled(second, "delivered", 1)
        assert "attempts not recorded" in caplog.text
        # Its claim runs out, and it is posted again.
        await due_now(first)
        await settled(first, "delivered", 1)


@pytest.mark.one_stack
class TestItsDay:
    async def test_with_nothing_to_do_it_asks_nothing(
        self, start: Start, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The re-check alone does, which everybody shares."""
        settings.SAYSO_RECHECK_INTERVAL = 0.01
        asked: list[object] = []
        checked = asyncio.Event()
        claim, changed_since = callbacks.outbox.claim, callbacks.outbox.changed_since
        loop = asyncio.get_running_loop()
        checks: list[object] = []

        def checking(moment: Any) -> Any:
            checks.append(moment)
            if len(checks) > 20:
                loop.call_soon_threadsafe(checked.set)
            return changed_since(moment)

        def asking(*given: Any) -> Any:
            asked.append(given)
            return claim(*given)

        monkeypatch.setattr(callbacks.outbox, "claim", asking)
        monkeypatch.setattr(callbacks.outbox, "changed_since", checking)
        await start()
        await checked.wait()
        assert len(asked) <= 2  # when it starts, and when the room lets everybody look everywhere

    async def test_it_sleeps_until_the_earliest_is_due_and_never_long(
        self, stack: object, hook: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        worker = OutboxWorker(waiting_room(), callbacks.outbox, WebhookCarrier())
        assert await worker._round() == IDLE
        await aclosed(hook.url)
        (due,) = await in_database(callbacks.outbox.claim, 10)
        assert await worker._round() == LONGEST_SLEEP
        monkeypatch.setattr(outboxes, "BACKOFF", (5.0,))
        await in_database(callbacks.outbox.record, [Attempt(due=due, seconds=0.1, answer=Answer(error="no"))])
        assert 3 < await worker._round() <= 5.5
        await worker.stop()

    async def test_stopped_it_leaves_the_rest_to_others_with_a_word_on_each(
        self, room: WaitingRoom, hook: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "LAST_POSTS", 0.05)
        worker = OutboxWorker(room, callbacks.outbox, WebhookCarrier())
        await worker.start()
        (callback_id,) = await aclosed(f"{hook.url}/hang")
        await came(hook)
        await worker.stop()
        row = await settled(callback_id, "waiting", 1)
        (attempt,) = await in_database(attempts, row)
        assert attempt.error == "The server stopped before there was an answer."

    async def test_stopped_it_waits_a_little_for_what_is_under_way(
        self, room: WaitingRoom, hook: Receiver
    ) -> None:
        posted, go_on = asyncio.Event(), asyncio.Event()

        class Slow(WebhookCarrier):
            async def post(self, url: str, message: Message) -> Answer:
                posted.set()
                await go_on.wait()
                return await super().post(url, message)

        worker = OutboxWorker(room, callbacks.outbox, Slow())
        await worker.start()
        (callback_id,) = await aclosed(hook.url)
        await posted.wait()
        stopping = asyncio.create_task(worker.stop())
        await asyncio.sleep(0)
        go_on.set()
        await stopping
        await settled(callback_id, "delivered", 1)
        row = await in_database(again, await in_database(Callback.objects.get, pk=callback_id))
        assert row.due_at is None


def _until_none_waits() -> None:
    blocked_until(lambda: not Callback.objects.filter(status="waiting").exists())
