"""Which tests a run has, and what it says at its end. A plugin of pytest.

`pytest` alone runs everything but what is marked `processes`: tests that start servers, workers, commands or
browsers. `pytest -m processes` runs those. Files that are named run whole, one test after another.

Whole runs are shared out among workers, four for two processors, each with servers of its own; how,
says tests/sharing.py.

`SAYSO_TEST_STACK=sqlite-memory` leaves out what needs another stack: neither PostgreSQL nor Redis is started.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests import prepared
from tests.sharing import stack_of
from tests.stacks import STACKS, WITH_WORKERS

REST = "not processes"
# Who asks for one of these starts a process of ours.
PROCESS_FIXTURES = {"manage", "serve", "chromium"}

LEFT_OUT = pytest.StashKey[dict[str, int]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEFT_OUT] = {}
    if not _is_worker(config):
        _wanted_stack()
    if _is_whole(config) and not config.option.markexpr:
        config.option.markexpr = REST


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """None where files are named, or where all would share one Redis. Tests wait half of their time."""
    if not _is_whole(config) or "REDIS_URL" in os.environ:
        return 0
    return len(os.sched_getaffinity(0)) * 2


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[LEFT_OUT].update(getattr(node, "workeroutput", {}).get("left_out", {}))


# --- Choosing ---


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = _wanted_stack()
    elsewhere = [item for item in items if wanted and stack_of(item) not in (None, wanted)]
    if elsewhere:
        items[:] = [item for item in items if item not in set(elsewhere)]
        config.hook.pytest_deselected(items=elsewhere)
        config.stash[LEFT_OUT]["on other stacks"] = len(elsewhere)
    items.sort(key=_stack_order)
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        if names & PROCESS_FIXTURES:
            item.add_marker("processes")
        if "chromium" in names:
            item.add_marker("browser")


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count what -m left out by what would run it."""
    for item in items:
        if stack_of(item) in (None, _wanted_stack() or stack_of(item)):
            left_out = item.config.stash[LEFT_OUT]
            kind = "processes" if item.get_closest_marker("processes") else "others"
            left_out[kind] = left_out.get(kind, 0) + 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _is_worker(session.config):
        session.config.workeroutput["left_out"] = session.config.stash[LEFT_OUT]  # type: ignore[attr-defined]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    prepared.unmarked_test = None if item.get_closest_marker("processes") else item.nodeid


def _stack_order(item: pytest.Item) -> int:
    """Unit tests first, then stack by stack, so that a stack is taken up once."""
    return (None, *STACKS, WITH_WORKERS).index(stack_of(item))


# --- The end ---


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    left_out = config.stash[LEFT_OUT]
    if count := left_out.get("processes"):
        terminalreporter.write_line(
            f"Left out: {count} tests that start servers, workers, commands or browsers."
            " Run them with: python -m pytest -m processes"
        )
    if count := left_out.get("others"):
        terminalreporter.write_line(f"Left out: {count} other tests. Run them with: python -m pytest")
    if count := left_out.get("on other stacks"):
        terminalreporter.write_line(
            f"Left out: {count} tests on other stacks. Unset SAYSO_TEST_STACK to run them."
        )


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _is_whole(config: pytest.Config) -> bool:
    """Nobody named what to run."""
    return config.args_source is not pytest.Config.ArgsSource.ARGS


def _wanted_stack() -> str | None:
    wanted = os.environ.get("SAYSO_TEST_STACK")
    if wanted and wanted not in (*STACKS, WITH_WORKERS):
        raise pytest.UsageError(
            f"SAYSO_TEST_STACK: {wanted!r} is none of {', '.join((*STACKS, WITH_WORKERS))}"
        )
    return wanted or None
