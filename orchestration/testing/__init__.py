"""Test orchestrations: run them in this process, with people who reply as the test says, without a database.

    run = run_orchestration(refund, {"order": 812}, people=[approve(), answer("damaged")])
    assert run.result == "paid"

See docs/testing.md. Requests of other code are tested with `approvals.testing`.
"""

from orchestration.testing.executing import aexecute_runs, execute_runs
from orchestration.testing.people import (
    AskedRequest,
    People,
    PeopleMismatch,
    Reply,
    answer,
    approve,
    nobody,
    reject,
    withdraw,
)
from orchestration.testing.running import FinishedRun, arun_orchestration, run_orchestration

__all__ = [
    "AskedRequest",
    "FinishedRun",
    "People",
    "PeopleMismatch",
    "Reply",
    "aexecute_runs",
    "answer",
    "approve",
    "arun_orchestration",
    "execute_runs",
    "nobody",
    "reject",
    "run_orchestration",
    "withdraw",
]
