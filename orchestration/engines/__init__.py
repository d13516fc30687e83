"""Where runs execute. An engine is told which run ids to execute, and nothing else."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol
from uuid import UUID


class Engine(Protocol):
    """Executes runs. Telling it the same run twice is harmless."""

    @property
    def process_id(self) -> UUID | None:
        """The process to which runs that are started here belong; None: to whoever comes first."""

    async def execute(self, run_ids: Collection[UUID]) -> None:
        """Execute those of the runs that nobody executes yet."""

    async def cancel(self, run_ids: Collection[UUID]) -> None:
        """End those of the runs that this engine executes here."""
