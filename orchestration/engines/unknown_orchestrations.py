"""Watch for open runs of orchestrations, or versions, that this process does not know.

The process may have older code, lack an app, or have failed to import a module. Others execute such runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from approvals.database.threads import in_database
from approvals.process import telemetry
from orchestration import queries
from orchestration.catalog import Kind, kind_name

log = logging.getLogger(__name__)


class UnknownOrchestrations:
    """Each unknown orchestration, with how many of its runs were open at the last look."""

    def __init__(self) -> None:
        self.runs: Mapping[Kind, int] = {}
        self._looking = asyncio.Lock()

    async def look(self) -> None:
        """Read them, and log where they have changed."""
        async with self._looking:  # so that reports come in the order of the reads
            self._take(await in_database(queries.unknown_kinds))

    def _take(self, found: Mapping[Kind, int]) -> None:
        before, self.runs = self.runs, found
        for name, version in before.keys() - found.keys():
            telemetry.unknown_runs.remove(name, str(version))
        for (name, version), number in found.items():
            telemetry.unknown_runs.labels(name, str(version)).set(number)
        if before.keys() != found.keys():
            _log_change(found)


def _log_change(found: Mapping[Kind, int]) -> None:
    if found:
        names = "; ".join(sorted(map(kind_name, found)))
        log.warning("runs of unknown orchestrations are left to other processes orchestrations=%s", names)
    else:
        log.info("no run is of an unknown orchestration any more")
