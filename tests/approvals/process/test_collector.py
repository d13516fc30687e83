"""Garbage collection: in processes of Sayso's own seldom of what waits, in others as they have it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4
from weakref import ref

import pytest

from approvals.process import collector
from approvals.waiting.registry import Registry
from approvals.waiting.waiting_room import WaitingRoom
from tests.processes import Forked, Process, free_port, manage
from tests.stacks import Stack

# As many as fall due in one second of a storm; each is a future and what wakes it.
WAITS = 20_000


@pytest.fixture
def full_collections() -> Iterator[list[int]]:
    """How many objects each full collection has found from now on, in a process that is tuned."""
    found: list[int] = []

    def note(phase: str, about: dict[str, int]) -> None:
        if phase == "stop" and about["generation"] == 2:
            found.append(about["collected"])

    thresholds = gc.get_threshold()
    collector.tune()
    gc.collect()
    gc.callbacks.append(note)
    yield found
    gc.callbacks.remove(note)
    gc.set_threshold(*thresholds)


async def test_waits_by_the_ten_thousand_begin_and_end_without_a_full_collection(
    full_collections: list[int],
) -> None:
    registry: Registry[list[int]] = Registry()
    ids = [uuid4() for _ in range(WAITS)]

    async def wait(number: int) -> list[int]:
        waiter = registry.register(ids[number])
        try:
            return await waiter
        finally:
            registry.deregister(waiter, ids[number])

    tasks = [asyncio.create_task(wait(number)) for number in range(WAITS)]
    await asyncio.sleep(0)
    registry.wake({each: [number] for number, each in enumerate(ids)})
    assert await asyncio.gather(*tasks) == [[number] for number in range(WAITS)]
    assert full_collections == []


class Knot:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_cycles_that_nothing_refers_to_are_found_all_the_same(full_collections: list[int]) -> None:
    known = ref(Knot())
    kept = [[number] for number in range(collector.THRESHOLDS[0] + 1)]
    assert known() is None
    assert (len(kept), full_collections) == (collector.THRESHOLDS[0] + 1, [])


@pytest.mark.django_db
@pytest.mark.one_stack
async def test_a_room_leaves_the_collector_of_its_process_alone(stack: Stack) -> None:
    """It may be in a server of somebody else's."""
    before = gc.get_threshold(), gc.get_freeze_count()
    room = WaitingRoom()
    await room.start()
    await room.stop()
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


@pytest.mark.processes
@pytest.mark.stacks("postgresql-redis")
@pytest.mark.parametrize("kind", ["serve", "work", "uvicorn"])
def test_servers_and_workers_are_tuned(stack: Stack, tmp_path: Path, kind: str) -> None:
    (tmp_path / "telling_settings.py").write_text(TELLING)
    telling = {"DJANGO_SETTINGS_MODULE": "telling_settings", "PYTHONPATH": str(tmp_path)}
    environment = {**stack.environment, **telling, "SAYSO_ENGINE": "procrastinate"}
    with STARTED[kind](environment) as process:
        process.output.wait_for("collector ")
        process.terminate()
    assert f"collector {collector.THRESHOLDS}" in process.output.text


def uvicorn(environment: dict[str, str]) -> Process:
    command = ["-m", "uvicorn", "--port", str(free_port()), "config.asgi:application"]
    return Forked(command, environment=environment, name="uvicorn")


STARTED: dict[str, Callable[[dict[str, str]], Process]] = {
    "serve": lambda environment: manage("serve", "--port", str(free_port()), environment=environment),
    "work": lambda environment: manage("work", environment=environment),
    "uvicorn": uvicorn,
}

# The settings of a process that tells what its collector is set to.
TELLING = """
import gc

from config.settings import *

set_threshold = gc.set_threshold


def tell(*thresholds):
    set_threshold(*thresholds)
    print("collector", gc.get_threshold())


gc.set_threshold = tell
"""
