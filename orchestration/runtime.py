"""Start and stop what a process does for orchestrations: its waiting room, deliveries and host of runs."""

from __future__ import annotations

import asyncio

from django.core.exceptions import ImproperlyConfigured

from approvals.delivery.service import outbox_workers
from approvals.process import forks, telemetry
from approvals.waiting.waiting_room import waiting_room
from orchestration import queries
from orchestration.conf import LOCAL, PROCRASTINATE, orchestration_settings
from orchestration.engines.hosts import Host
from orchestration.manager import OrchestrationManager
from orchestration.runs import journal


async def start_runtime(*, serves: bool = True, concurrency: int = 0) -> Runtime:
    """Start the runtime on the running loop. Idempotent; the database need not be there yet.

    `serves` False: it executes only runs that `runtime.manager` starts or `runtime.host` is to take up, and
    delivers nothing. `concurrency`: with the engine `procrastinate`, how many runs this process executes at
    once; 0: none, workers do.
    """
    runtime = _runtime.value
    if runtime is None or runtime.dead:
        telemetry.start_tracing(orchestration_settings().trace_exporters)
        runtime = _runtime.value = Runtime(serves=serves, concurrency=concurrency)
        await runtime.start()
    return runtime


async def stop_runtime() -> None:
    """Let go of all runs, so that other processes continue them at once. Idempotent."""
    stopping, _runtime.value = _runtime.value, None
    if stopping is not None:
        await stopping.stop()


def running_runtime() -> Runtime | None:
    """Return this process's runtime, or None where it was not started."""
    return _runtime.value


class Runtime:
    """What one process does for orchestrations. Runs on the waiting room's loop."""

    def __init__(self, *, serves: bool, concurrency: int = 0) -> None:
        self._loop = asyncio.get_running_loop()
        self.host = _host(serves=serves, concurrency=concurrency)
        self._outbox_workers = outbox_workers(waiting_room()) if serves else []
        self.manager = OrchestrationManager(self.host)

    @property
    def dead(self) -> bool:
        return self._loop.is_closed()

    async def start(self) -> None:
        room = waiting_room()
        room.set_topic_source(journal.TOPIC, queries.runs_changed_since)
        await room.start()
        for worker in self._outbox_workers:
            await worker.start()
        await self.host.start()

    async def stop(self) -> None:
        # Side by side: each may need the database once more, and a server is given only seconds to stop.
        await asyncio.gather(self.host.stop(), *[worker.stop() for worker in self._outbox_workers])
        await waiting_room().stop()


def _host(*, serves: bool, concurrency: int) -> Host:
    engine = orchestration_settings().engine
    if engine == LOCAL:
        from orchestration.engines.local import LocalHost

        return LocalHost(serves=serves)
    if engine == PROCRASTINATE:
        from orchestration.engines.procrastinate import Worker

        return Worker(concurrency=concurrency) if concurrency else Host()
    raise ImproperlyConfigured(f"SAYSO_ENGINE: unknown engine {engine!r}")


_runtime: forks.Slot[Runtime] = forks.Slot()
