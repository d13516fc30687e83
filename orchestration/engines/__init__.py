"""Where runs execute. The engine only says: execute this run id.

`local` executes them in the processes that serve, each under its lease; `procrastinate` in workers, which
take them from a queue in PostgreSQL. A process takes part as a host.
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
        """The process to which runs that are started here belong; None: to whoever comes first."""

    async def execute(self, run_ids: Collection[UUID]) -> None:
        """Execute those of the runs that nobody executes yet."""


class Host(Protocol):
    """One process's part in executing runs, from start to stop."""

    @property
    def engine(self) -> Engine | None:
        """What executes, at once and in this process, the runs that are started in it."""

    @property
    def executes(self) -> bool:
        """Whether it can do its part now."""

    @property
    def unknown(self) -> Mapping[Kind, int]:
        """What it leaves alone because it does not know it, with how many runs of each are open."""

    async def start(self) -> None: ...

    async def ready(self) -> None:
        """Return once the process may execute runs."""

    async def take_up(self, run_id: UUID) -> None:
        """Execute this run, too, whenever nobody else does."""

    async def stop(self) -> None:
        """Take nothing more, give steps under way a bounded time, let all else go unharmed."""

    async def look(self, ids: frozenset[UUID]) -> None:
        """These runs changed."""

    async def look_everywhere(self) -> None:
        """Any run may have changed."""


def hand_over(run_ids: Collection[UUID]) -> None:
    """Called in the transaction that queues these runs: see to it that somebody executes them.

    The local engine's processes are told by a hint, after the commit.
    """
    if orchestration_settings().engine == PROCRASTINATE:
        from orchestration.engines import jobs

        jobs.defer(run_ids)


__all__ = ["LOCAL", "PROCRASTINATE", "Engine", "Host", "hand_over"]
