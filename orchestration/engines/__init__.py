"""Where runs execute: an engine is told ids of runs, and executes them.

`local` executes runs in the processes that serve, each under its lease; `procrastinate` in workers, which
take them from a queue in PostgreSQL. Each process has a host, its part in this.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from orchestration.conf import PROCRASTINATE, orchestration_settings


def hand_over(run_ids: Collection[UUID]) -> None:
    """Have somebody execute these runs; call it in the transaction that queues them.

    Processes of the local engine learn of them by a hint, after the commit.
    """
    if orchestration_settings().engine == PROCRASTINATE:
        from orchestration.engines import jobs

        jobs.defer(run_ids)
