"""How the tests of a run are shared out among workers. A plugin of pytest, beside tests/selection.py.

The tests of a file on one stack stay together, in one worker: they share its servers and browsers. So do the
tests that break a PostgreSQL and start no process: a single one is started for them. What may take longest
comes first, so that all workers end at about the same time. Tests marked `alone` measure: they run one after
another in one worker, at the end, while the others wait.

Which tests belong together the workers note in a file, for whoever shares them out knows only their names.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

COMMON = pytest.StashKey[Path]()
TURN = pytest.StashKey["Turn"]()
ALONE = "alone"
BREAKABLE = "private_postgres"
TESTS = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    if common := getattr(config, "workerinput", {}).get("common"):
        config.stash[COMMON] = Path(common)
        config.stash[TURN] = Turn(Path(common))
    else:
        config.stash[COMMON] = Path(tempfile.mkdtemp(prefix="sayso-tests-"))


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(config.stash[COMMON], ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["common"] = str(node.config.stash[COMMON])


@pytest.fixture(scope="session")
def common_file(pytestconfig: pytest.Config) -> Callable[[str], AbstractContextManager[Path]]:
    """Yield the file of a name that all workers of the run share; one of them at a time has it."""

    @contextmanager
    def common_file(name: str) -> Iterator[Path]:
        file = pytestconfig.stash[COMMON] / name
        with file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield file

    return common_file


# --- What all workers need ---


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Each worker compiles a share of what isn't compiled yet, where each would compile it all.

    pytest's own import of a test says what is wrong with it.
    """
    if own := getattr(session.config, "workerinput", None):
        files = sorted(file.relative_to(TESTS.parent) for file in TESTS.rglob("test_*.py"))
        for file in files[int(own["workerid"].removeprefix("gw")) :: own["workercount"]]:
            with suppress(Exception, pytest.skip.Exception):
                importlib.import_module(".".join(file.with_suffix("").parts))


# --- Which tests stay together, and which come first ---


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a worker, once it is known which tests the run has."""
    if not (common := getattr(config, "workerinput", {}).get("common")):
        return
    groups = {item.nodeid: _group_of(item) for item in items}
    longest = Counter[str]()
    for item in items:
        longest[groups[item.nodeid]] += _time_limit(item)
    items.sort(key=lambda item: _turn_of(groups[item.nodeid], longest))
    noted = Path(common, f"groups.{os.getpid()}")
    noted.write_text(json.dumps(groups))
    noted.rename(Path(common, "groups"))


def stack_of(item: pytest.Item) -> str | None:
    """The stack it runs on; None if it uses none."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("stack") if callspec else None


def _group_of(item: pytest.Item) -> str:
    if _is_alone(item):
        return ALONE
    if BREAKABLE in getattr(item, "fixturenames", ()) and not item.get_closest_marker("processes"):
        return BREAKABLE
    return f"{item.path}-{stack_of(item)}"


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


def _time_limit(item: pytest.Item) -> int:
    """Seconds; what is expected to take longer may take longer."""
    marked = item.get_closest_marker("timeout")
    return int(marked.args[0] if marked else item.config.getini("timeout") or 1)


def _turn_of(group: str, longest: Counter[str]) -> tuple[bool, int, str]:
    return group == ALONE, -longest[group], group


class Groups(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """One group after the other, in their order, each to the worker that has nothing left to do."""

    @cached_property
    def _groups(self) -> dict[str, str]:
        groups: dict[str, str] = json.loads(Path(self.config.stash[COMMON], "groups").read_text())
        return groups

    def _split_scope(self, nodeid: str) -> str:
        return self._groups[nodeid]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups | None:
    if config.getvalue("dist") != "loadgroup":
        return None
    config.option.loadscopereorder = False
    return Groups(config, log)


# --- Alone ---


class Turn:
    """Tests of several workers run side by side; those marked `alone` while the others wait."""

    def __init__(self, common: Path) -> None:
        self._turn, self._gate = common / "turn", common / "gate"
        self._taken: TextIOWrapper | None = None

    def take(self, item: pytest.Item) -> None:
        """It is still this worker's turn if the test before was alone, too."""
        if self._taken:
            return
        self._taken = self._turn.open("w")
        with self._gate.open("w") as gate:  # nobody overtakes the one that waits to be alone
            fcntl.flock(gate, fcntl.LOCK_EX)
            fcntl.flock(self._taken, fcntl.LOCK_EX if _is_alone(item) else fcntl.LOCK_SH)

    def pass_on(self, item: pytest.Item, following: pytest.Item | None) -> None:
        if self._taken and not (following and _is_alone(item) and _is_alone(following)):
            self._taken.close()
            self._taken = None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """Outside of the test's own time limit: waiting for the others' tests is not its fault."""
    turn = item.config.stash.get(TURN, None)
    if turn is None:
        return (yield)
    turn.take(item)
    try:
        return (yield)
    finally:
        turn.pass_on(item, nextitem)
