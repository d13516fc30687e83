"""What becomes of waits and decisions while Redis, which carries nothing but hints, fails in every way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
import redis

from approvals.database.threads import in_database
from approvals.models import HumanRequest
from approvals.process import hints
from approvals.process.hints import Hint
from tests.faults import proxy
from tests.faults.conftest import PATIENCE, Installation
from tests.faults.people import Person, pause
from tests.faults.proxy import Proxy
from tests.servers import RedisServer
from tests.stacks import Stack

pytestmark = pytest.mark.stacks("postgresql-redis")

MANY = 30
# More than a server's pool has connections.
CROWD = 60
# Longer than any decision may take while Redis is frozen.
LIMIT = 2.0
# Seconds to a deadline by which all who wait for it are there.
SOON = 15.0


@asynccontextmanager
async def waits(
    installation: Installation, number: int = MANY, terms: dict[str, Any] | None = None, **environment: str
) -> AsyncIterator[tuple[list[str], Person]]:
    """So many requests, waited for at one of two servers, and who decides them at the other. In the end all
    must be decided; whoever waits is told within the re-check's interval, whatever goes on, and the audit
    finds nothing wrong."""
    here, _ = await installation.serve(2, **environment)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as waiting:
        ann, bob = await installation.person("ann"), await installation.person("bob")
        asked = await ann.ask_many("Redis", number, **terms or {})
        for each in asked:
            waiting.create_task(ann.wait(each))
        await installation.until_waiting(here, number)
        yield asked, bob
    report = await installation.audited()
    assert (report.resolved, report.waits_told) == (number, number)


async def test_redis_killed_and_restarted_empty_while_people_wait(
    installation: Installation, private_redis: RedisServer
) -> None:
    """Fault 1: what is decided before, during and after the outage reaches everybody who waits."""
    async with waits(installation) as (asked, bob):
        for each in asked[:10]:
            await bob.decide(each, at=1)
        private_redis.stop()
        for each in asked[10:20]:
            await bob.decide(each, at=1)
        private_redis.start()
        for each in asked[20:]:
            await bob.decide(each, "reject", at=1)


@pytest.mark.alone
async def test_a_decision_is_answered_and_committed_while_redis_is_frozen(
    installation: Installation, private_redis: RedisServer
) -> None:
    """Fault 2: SIGSTOP, so that connections stay open and nobody answers. Within two seconds each."""
    async with waits(installation) as (asked, bob):
        # What a server does for the first time takes longer, whatever Redis does.
        await bob.decide(asked[0], at=1)
        private_redis.freeze()
        for each in asked[1:5]:
            await bob.decide(each, at=1, within=LIMIT)
        private_redis.thaw()
        for each in asked[5:]:
            await bob.decide(each, at=1)


async def test_while_redis_is_away_those_who_wait_learn_of_decisions_in_seconds(
    installation: Installation, private_redis: RedisServer
) -> None:
    """Fault 1: the re-check, which is an hour away here, comes every other second then."""
    async with waits(installation, SAYSO_RECHECK_INTERVAL="3600") as (asked, bob):
        private_redis.stop()
        for each in asked:
            await bob.decide(each, at=1)


@pytest.mark.parametrize("rule", [proxy.no_hint_passes, None])
async def test_timeouts_that_another_process_recorded_are_noticed_without_hints(
    installation: Installation, stack: Stack, rule: proxy.Rule | None
) -> None:
    """Fault 3: by a process that was frozen across the deadline, so that another was first. It looks at what
    it kept, whether its listener knows that it hears nothing or not; the re-check is an hour away."""
    assert stack.redis
    with Proxy(stack.redis.url) as between:
        hourly = {"REDIS_URL": between.url, "SAYSO_RECHECK_INTERVAL": "3600"}
        async with waits(installation, 10, terms={"timeout": SOON}, **hourly):
            if rule is None:
                between.freeze()
            between.obey(rule)
            here = installation.servers[0]
            here.freeze()
            while await in_database(timed_out) < 10:
                await pause()
            here.thaw()


def timed_out() -> int:
    return HumanRequest.objects.filter(status="timed_out").count()


async def test_a_command_decides_while_redis_is_frozen(
    installation: Installation, private_redis: RedisServer
) -> None:
    """Fault 2: a process without a waiting room sends the hint itself, and waits for that two seconds."""
    async with waits(installation, 1) as (asked, _):
        private_redis.freeze()
        command = installation.start("decide", asked[0], "approve", "--as", "bob")
        assert await asyncio.to_thread(command.wait) == 0
        private_redis.thaw()


async def test_flushall_and_every_subscription_ended(
    installation: Installation, private_redis: RedisServer
) -> None:
    """Fault 3: FLUSHALL, as an empty failover; and subscriptions that end unasked, as groups expire."""
    async with waits(installation) as (asked, bob):
        for number, each in enumerate(asked):
            if number % 10 == 3:
                private_redis.flush()
            if number % 10 == 7:
                await asyncio.to_thread(end_subscriptions, private_redis.url)
            await bob.decide(each, at=1)


async def test_five_hundred_hints_at_once(installation: Installation, stack: Stack) -> None:
    """Fault 3: more than a channel may hold, of which the decisions' own are few; and a crowd decides."""
    layer = hints.make_layer()
    async with waits(installation, CROWD) as (asked, bob):
        async with asyncio.TaskGroup() as crowd:
            for number in range(500):
                hint = Hint(topic="requests", ids=(UUID(asked[number % CROWD]),), sender="crowd")
                crowd.create_task(layer.group_send(hints.GROUP, hint.to_wire()))
            for each in asked:
                crowd.create_task(bob.decide(each, at=1))
        await layer.flush()


@pytest.mark.parametrize("rule", [proxy.nothing_passes, proxy.no_hint_passes])
async def test_every_hint_is_dropped(installation: Installation, stack: Stack, rule: proxy.Rule) -> None:
    """Fault 3: whether the listeners notice that, or still hear themselves: the re-check finds it all."""
    assert stack.redis
    with Proxy(stack.redis.url) as between:
        async with waits(installation, REDIS_URL=between.url) as (asked, bob):
            between.obey(rule)
            for each in asked:
                await bob.decide(each, at=1)


async def test_hints_are_dropped_doubled_and_reordered(installation: Installation, stack: Stack) -> None:
    """Fault 3: a hint says "look again", as often and as late as it likes."""
    assert stack.redis
    with Proxy(stack.redis.url) as between:
        between.obey(proxy.Scramble(seed=1))
        async with waits(installation, REDIS_URL=between.url) as (asked, bob):
            for number, each in enumerate(asked):
                await bob.decide(each, "approve" if number % 2 else "reject", at=1)


async def test_connections_that_break_hang_and_are_refused(installation: Installation, stack: Stack) -> None:
    """Fault 3: a network between Sayso and Redis that comes and goes."""
    assert stack.redis
    with Proxy(stack.redis.url) as between:
        async with waits(installation, REDIS_URL=between.url) as (asked, bob):
            harms = [between.cut, between.freeze, between.thaw, between.refuse, between.accept]
            for number, each in enumerate(asked):
                if number % 5 == 2:
                    harms[number // 5 % len(harms)]()
                await bob.decide(each, at=1)


def end_subscriptions(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
