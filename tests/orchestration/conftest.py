"""Runs under test: a runtime on the test's loop, and processes that come and go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import pytest
from django.contrib.auth.models import User

from approvals.database.threads import in_database
from approvals.waiting.waiting_room import waiting_room
from orchestration.engines import leases
from orchestration.engines.local import LocalHost
from orchestration.runtime import Runtime, start_runtime, stop_runtime
from tests import factories
from tests.stacks import Stack

Processes: TypeAlias = Callable[[], Awaitable[LocalHost]]


@pytest.fixture
async def runtime(stack: Stack) -> AsyncIterator[Runtime]:
    """This process executes runs, as a server does, or a worker where the stack has those."""
    runtime = await start_runtime(concurrency=100)
    await runtime.host.ready()
    yield runtime
    await stop_runtime()


@pytest.fixture
async def process(stack: Stack) -> AsyncIterator[Processes]:
    """Engines, each with the lease of a process of its own; what executes on them is let go in the end."""
    begun: list[tuple[LocalHost, leases.Lease]] = []
    await waiting_room().start()

    async def begin() -> LocalHost:
        engine, lease = LocalHost(), await in_database(leases.take)
        engine.process_id = lease.process_id
        begun.append((engine, lease))
        return engine

    yield begin
    for engine, lease in begun:
        await engine.let_go()
        engine.close()
        await in_database(leases.release, lease)
    await waiting_room().stop()


@pytest.fixture
async def owner(stack: Stack) -> User:
    return await in_database(factories.user, "olga")
