"""What this process does not know: orchestrations, or versions of them, that open runs name.

Older code, an app that is not installed, or a module that could not be imported. Their runs are left alone.
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
    """As of the last look: each such orchestration, with how many of its runs are open."""

    def __init__(self) -> None:
        self.runs: Mapping[Kind, int] = {}
        self._looking = asyncio.Lock()

    async def look(self) -> None:
        """Read what there is; log it where it is not what it was."""
        async with self._looking:  # what was read first is told first
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
