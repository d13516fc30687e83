"""Say who continues a run that a terminal has let go of."""

from __future__ import annotations

from uuid import UUID

from orchestration import queries
from orchestration.conf import PROCRASTINATE, orchestration_settings


def describe_takeover(run_id: UUID) -> str:
    """Say in one or two sentences who continues the run, for the person at the terminal."""
    attach = f"manage.py orchestrate --attach {run_id}"
    if (executor := queries.executing_process(run_id)) is not None:
        return f"The run goes on in {executor.name}. To see it again: {attach}"
    if orchestration_settings().engine == PROCRASTINATE:
        return _by_a_worker(attach)
    if queries.has_live_server():
        return f"A server goes on with the run. To see it again: {attach}"
    return f"Nobody goes on with the run until there is a server (manage.py serve), or you call: {attach}"


def _by_a_worker(attach: str) -> str:
    from orchestration.engines import jobs

    if jobs.has_live_worker():
        return f"A worker goes on with the run. To see it again: {attach}"
    return f"Nobody goes on with the run until there is a worker: manage.py work. To see it again: {attach}"
