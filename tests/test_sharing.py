"""Tests of a file stay together, and those that measure run while no other does."""

from __future__ import annotations

import json
import sys
from itertools import groupby
from pathlib import Path

import pytest

from tests.patience import patience
from tests.processes import PROJECT, Process, bare_environment

FILE = """
import json, os, time
from pathlib import Path
import pytest

@pytest.fixture(autouse=True)
def noted(request):
    began = time.monotonic()
    yield
    with Path("noted").open("a") as noted:
        told = [os.environ["PYTEST_XDIST_WORKER"], request.node.name, began, time.monotonic()]
        noted.write(json.dumps([request.node.path.stem, *told]) + "\\n")

@pytest.mark.parametrize("number", range(6))
def test_beside_others(number):
    pass

@pytest.mark.alone
def test_alone():
    pass
"""


@pytest.mark.processes
def test_files_stay_together_and_who_measures_is_alone(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = alone\ntimeout = 60\n")
    for name in "abcd":
        (tmp_path / f"test_{name}.py").write_text(FILE)
    with Process(
        [
            *(sys.executable, "-m", "pytest", "-p", "xdist.plugin", "-p", "pytest_timeout"),
            *("-p", "tests.sharing", "-n", "2", "--dist", "loadgroup"),
        ],
        environment=bare_environment() | {"PYTHONPATH": str(PROJECT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        directory=tmp_path,
        name="pytest",
    ) as run:
        assert run.wait(3 * patience()) == 0, run.output.text
    noted = sorted(map(json.loads, (tmp_path / "noted").read_text().splitlines()), key=lambda note: note[3])
    alone = [note for note in noted if note[2] == "test_alone"]
    beside = [note for note in noted if note not in alone]
    assert (len(beside), len(alone)) == (24, 4)
    for worker in {note[1] for note in beside}:
        files = [name for name, _ in groupby(note[0] for note in beside if note[1] == worker)]
        assert len(files) == len(set(files)), "a file was taken up again"
    assert {len({note[1] for note in beside if note[0] == name}) for name, *_ in beside} == {1}
    assert len({note[1] for note in alone}) == 1
    for _, _, _, began, ended in alone:
        assert not [note for note in noted if note[3] < ended and began < note[4] and note[3] != began]
