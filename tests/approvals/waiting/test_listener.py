"""Both ends of the channel layer: they hear, they tell, and they know when they are deaf."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from pytest_django import Settings

from approvals.process import hints
from approvals.process.hints import Hint
from approvals.waiting import outages
from approvals.waiting.listener import Listener, Sender
from tests.approvals.waiting.conftest import running
from tests.looking import until
from tests.servers import RedisServer
from tests.stacks import Stack

# Only the layer makes a difference.
pytestmark = [pytest.mark.django_db, pytest.mark.stacks("sqlite-memory", "sqlite-redis")]

NEVER = 3600.0


class Ears:
    """A listener called "me" and what came of it."""

    def __init__(self) -> None:
        self.heard: list[UUID] = []
        self.renewals = 0
        self.losses = 0
        self.listener = Listener("me", self._hear, lost=self._lose, renewed=self._renew)

    def _hear(self, topic: str, ids: Sequence[UUID]) -> None:
        assert topic == "requests"
        self.heard.extend(ids)

    def _lose(self) -> None:
        self.losses += 1

    def _renew(self) -> None:
        self.renewals += 1


@pytest.fixture(autouse=True)
def quiet(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing happens by the clock, and trying again takes no time, unless a test says otherwise."""
    settings.SAYSO_RECHECK_INTERVAL = NEVER
    monkeypatch.setattr(outages, "LONGEST_PAUSE", 0.1)


async def tell(layer: Any, *ids: UUID, sender: str = "another", topic: str = "requests") -> None:
    await layer.group_send(hints.GROUP, Hint(topic=topic, ids=ids, sender=sender).to_wire())


async def heard(ears: Ears, layer: Any, sender: str = "another") -> None:
    """Return when a hint that is sent now has arrived; Redis may need a while to take connections again."""
    request_id = uuid4()
    while request_id not in ears.heard:
        try:
            await tell(layer, request_id, sender=sender)
        except Exception:
            await layer.flush()
        for _ in range(100):
            await asyncio.sleep(0)


async def test_it_hears_other_processes(other_process: Any) -> None:
    ears = Ears()
    async with running(ears.listener.run):
        await until(lambda: ears.renewals)
        ids = [uuid4() for _ in range(1000)]
        await tell(other_process, *ids)
        await until(lambda: ears.heard)
    assert ears.heard == ids


async def test_it_does_not_listen_to_itself(other_process: Any) -> None:
    """Whoever follows in this process has been told directly."""
    ears = Ears()
    async with running(ears.listener.run):
        await until(lambda: ears.renewals)
        await tell(other_process, uuid4(), sender="me")
        foreign = uuid4()
        await tell(other_process, foreign)
        await until(lambda: ears.heard)
    assert ears.heard == [foreign]


async def test_what_is_no_hint_is_logged_and_ignored(
    other_process: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ears = Ears()
    async with running(ears.listener.run):
        await until(lambda: ears.renewals)
        for nonsense in ({"type": "sayso.hint"}, {"type": "websocket.close"}, {"ids": ["x"]}):
            await other_process.group_send(hints.GROUP, nonsense)
        await heard(ears, other_process)
    assert ears.renewals == 1
    assert caplog.text.count("malformed hint ignored") == 3


async def test_five_hundred_hints_at_once_are_heard(stack: Stack, other_process: Any) -> None:
    """Or, in memory, as many as its layer holds: the rest is what the re-check is for."""
    ears = Ears()
    async with running(ears.listener.run):
        await until(lambda: ears.renewals)
        ids = [uuid4() for _ in range(500)]
        await asyncio.gather(*(tell(other_process, each) for each in ids))
        expected = 500 if stack.layer == "redis" else 100
        await until(lambda: len(ears.heard) >= expected)
    assert set(ears.heard) <= set(ids)


async def test_who_hears_itself_is_left_alone(settings: Settings, other_process: Any) -> None:
    """Every proof of hearing is one message; nothing else happens."""
    settings.SAYSO_RECHECK_INTERVAL = 0.01
    channel = await other_process.new_channel()
    await other_process.group_add(hints.GROUP, channel)
    ears = Ears()
    async with running(ears.listener.run):
        for _ in range(5):
            assert Hint.from_wire(await other_process.receive(channel)).sender == "me"
    assert ears.renewals == 1
    assert ears.heard == []


@pytest.mark.stacks("sqlite-memory")  # pub/sub keeps no membership that could be lost
async def test_a_lost_membership_is_renewed(settings: Settings, other_process: Any) -> None:
    settings.SAYSO_RECHECK_INTERVAL = 0.01
    ears = Ears()
    async with running(ears.listener.run):
        await until(lambda: ears.renewals)
        other_process.groups.clear()
        await heard(ears, other_process)


@pytest.mark.stacks("sqlite-redis")
async def test_a_receiver_that_died_inside_the_layer_is_noticed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, other_process: Any
) -> None:
    """The pub/sub layer never says so: only not hearing oneself does."""
    settings.SAYSO_RECHECK_INTERVAL = 0.01
    layers: list[Any] = []
    original = hints.make_layer

    def remembered() -> Any:
        layers.append(original())
        return layers[-1]

    monkeypatch.setattr(hints, "make_layer", remembered)
    ears = Ears()
    async with running(ears.listener.run):
        await until(lambda: ears.renewals)
        (shard,) = layers[0]._get_layer()._shards
        shard._receive_task.cancel()
        await until(lambda: ears.renewals > 1)
        await heard(ears, other_process)


@pytest.mark.stacks("sqlite-redis")
async def test_an_emptied_redis_makes_nobody_deaf(private_redis: RedisServer) -> None:
    layer = hints.make_layer()
    ears = Ears()
    async with running(ears.listener.run):
        await until(lambda: ears.renewals)
        private_redis.flush()
        await heard(ears, layer)
    await layer.flush()


@pytest.mark.stacks("sqlite-redis")
async def test_after_a_restart_of_redis_it_starts_anew_and_says_so(
    private_redis: RedisServer,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    settings.SAYSO_RECHECK_INTERVAL = 0.1
    layer = hints.make_layer()
    ears = Ears()
    async with running(ears.listener.run):
        await until(lambda: ears.renewals)
        private_redis.stop()
        await until(lambda: "listening does not answer" in caplog.text)
        private_redis.start()
        await until(lambda: ears.renewals > 1)
        await heard(ears, layer)
    await layer.flush()
    assert caplog.text.count("listening does not answer") == 1
    assert caplog.text.count("listening answers again") == 1


@pytest.mark.stacks("sqlite-redis")
@pytest.mark.parametrize("harm", ["stop", "freeze"])
async def test_that_it_hears_nothing_it_says_once_and_before_the_next_recheck(
    private_redis: RedisServer, harm: str
) -> None:
    """Which is an hour away here; and however often it tries again in vain."""
    ears = Ears()
    async with running(ears.listener.run):
        await until(lambda: ears.renewals)
        getattr(private_redis, harm)()
        await until(lambda: ears.losses)
        assert ears.listener.heard_at is None
        private_redis.thaw() if harm == "freeze" else private_redis.start()
        await until(lambda: ears.renewals > 1)
    assert ears.losses == 2  # the second when it was told to end


@pytest.mark.stacks("sqlite-redis")
async def test_a_frozen_redis_is_noticed_and_survived(private_redis: RedisServer, settings: Settings) -> None:
    settings.SAYSO_RECHECK_INTERVAL = 0.1
    layer = hints.make_layer()
    ears = Ears()
    async with running(ears.listener.run) as work:
        await until(lambda: ears.renewals)
        private_redis.freeze()
        await until(lambda: ears.listener._outage._away)
        assert not work.done()
        private_redis.thaw()
        await until(lambda: ears.renewals > 1)
        await heard(ears, layer)
    await layer.flush()


async def test_ids_that_gathered_leave_together(other_process: Any) -> None:
    channel = await other_process.new_channel()
    await other_process.group_add(hints.GROUP, channel)
    sender = Sender("me", asyncio.get_running_loop())
    ids = [uuid4() for _ in range(1500)]
    for each in ids:
        sender.put("requests", [each])
    async with running(sender.run):
        messages = [Hint.from_wire(await other_process.receive(channel)) for _ in range(2)]
    assert [len(message.ids) for message in messages] == [1000, 500]
    assert [each for message in messages for each in message.ids] == ids
    assert {(message.topic, message.sender) for message in messages} == {("requests", "me")}


async def test_topics_are_kept_apart(other_process: Any) -> None:
    channel = await other_process.new_channel()
    await other_process.group_add(hints.GROUP, channel)
    sender = Sender("me", asyncio.get_running_loop())
    sender.put("requests", [uuid4()])
    sender.put("runs", [uuid4()])
    async with running(sender.run):
        messages = [Hint.from_wire(await other_process.receive(channel)) for _ in range(2)]
    assert [message.topic for message in messages] == ["requests", "runs"]


@pytest.mark.stacks("sqlite-redis")
async def test_what_was_handed_over_is_sent_before_it_ends(other_process: Any) -> None:
    channel = await other_process.new_channel()
    await other_process.group_add(hints.GROUP, channel)
    sender = Sender("me", asyncio.get_running_loop())
    request_id = uuid4()
    async with running(sender.run):
        await asyncio.sleep(0)
        sender.put("requests", [request_id])
    assert Hint.from_wire(await other_process.receive(channel)).ids == (request_id,)


@pytest.mark.stacks("sqlite-redis")
async def test_what_can_not_be_sent_is_dropped_and_the_rest_with_it(
    private_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sender = Sender("me", asyncio.get_running_loop())
    private_redis.freeze()
    async with running(sender.run):
        sender.put("requests", [uuid4() for _ in range(3000)])
        await until(lambda: sender._dropped)
        assert len(sender._outgoing) == 0
        private_redis.thaw()
        layer = hints.make_layer()
        channel = await layer.new_channel()
        await layer.group_add(hints.GROUP, channel)
        request_id = uuid4()
        sender.put("requests", [request_id])
        assert Hint.from_wire(await layer.receive(channel)).ids == (request_id,)
        await layer.flush()
    assert "hints dropped ids=3000 error=TimeoutError" in caplog.text
    assert "hints sent again dropped=3000" in caplog.text
