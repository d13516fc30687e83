"""The testing kit in a project's own tests, by each runner, on each database; docs/testing.md as printed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from approvals import queries
from tests import factories
from tests.conftest import Servers
from tests.marks import both_databases
from tests.processes import MANAGE, PROJECT, bare_environment, run_manage
from tests.stacks import SECRET_KEY, Stack

DOCUMENT = (PROJECT / "docs" / "testing.md").read_text(encoding="utf-8")
SAMPLES = Path(__file__).parent / "samples"
PYTEST_INI = "[pytest]\nasyncio_default_fixture_loop_scope = function\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the examples of docs/testing.md, and more tests."""
    for name, text in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", DOCUMENT, re.DOTALL):
        (tmp_path / name).write_text(text)
    shutil.copy(SAMPLES / "cases.py", tmp_path / "more_tests.py")
    shutil.copy(SAMPLES / "coroutines.py", tmp_path / "test_coroutines.py")
    (tmp_path / "pytest.ini").write_text(PYTEST_INI)
    return tmp_path


@pytest.mark.processes
@both_databases
def test_tests_of_a_project_pass_by_djangos_runner_and_by_pytest(
    project: Path, stack: Stack, servers: Servers
) -> None:
    environment = bare_environment() | {
        "SAYSO_SECRET_KEY": SECRET_KEY,
        "SAYSO_VAR": str(project / "var"),
        "PYTHONPATH": str(PROJECT),
    }
    if stack.engine == "postgresql":
        environment["DATABASE_URL"] = servers.postgres.url
    by_django: list[str | Path] = [MANAGE, "test", project, "-p", "*tests.py"]
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--ds=config.settings"]
    by_pytest = ["-m", "pytest", *options, project, *sorted(project.glob("*tests.py"))]
    for command in (by_django, by_pytest):
        ended = subprocess.run(
            [sys.executable, "-W", "error", *command],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.processes
@both_databases
def test_outside_of_tests_the_trail_is_not_flushed(stack: Stack) -> None:
    request_id = factories.approval()

    ended = run_manage("flush", "--no-input", environment=stack.environment)

    assert ended.returncode == 1
    assert "couldn't be flushed" in ended.stderr
    assert queries.requests_by_id([request_id])
