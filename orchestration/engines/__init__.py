"""Where runs execute: an engine is told ids of runs, and executes them.

`local` executes runs in the processes that serve, each under its lease; `procrastinate` in workers, which
take them from a queue in PostgreSQL. Each process has a host, its part in this.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol
from uuid import UUID

from orchestration.catalog import Kind
from orchestration.conf import LOCAL, PROCRASTINATE, orchestration_settings


class Engine(Protocol):
    """Executes runs. Telling it the same run twice is harmless."""

    @property
    def process_id(self) -> UUID | None:
        """The process that runs started here belong to; None: any process may take them."""

    async def execute(self, run_ids: Collection[UUID]) -> None:
        """Execute those of the runs that no process executes yet."""


class Host(Protocol):
    """One process's part in executing runs, from start to stop."""

    @property
    def engine(self) -> Engine | None:
        """The engine that executes runs started in this process, at once and in it; None: others do."""

    @property
    def executes(self) -> bool:
        """Whether the process can execute runs now, as far as that is its part."""

    @property
    def unknown(self) -> Mapping[Kind, int]:
        """Orchestrations that this process does not know, with how many open runs each has."""

    async def start(self) -> None:
        """Begin; the database need not be there yet."""

    async def ready(self) -> None:
        """Return when the process may execute runs."""

    async def take_up(self, run_id: UUID) -> None:
        """Execute this run here, whenever no other process does."""

    async def stop(self) -> None:
        """Take no more runs, give executing steps a bounded time to end, and let go of all runs."""

    async def look(self, ids: frozenset[UUID]) -> None:
        """Take note that these runs changed."""

    async def look_everywhere(self) -> None:
        """Take note that any run may have changed."""


def hand_over(run_ids: Collection[UUID]) -> None:
    """Have somebody execute these runs; call it in the transaction that queues them.

    Processes of the local engine learn of them by a hint, after the commit.
    """
    if orchestration_settings().engine == PROCRASTINATE:
        from orchestration.engines import jobs

        jobs.defer(run_ids)


__all__ = ["LOCAL", "PROCRASTINATE", "Engine", "Host", "hand_over"]
