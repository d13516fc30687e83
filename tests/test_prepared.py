"""Which modules a fork of the prepared process has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import PROJECT, Forked, bare_environment

pytestmark = pytest.mark.processes


def test_a_fork_has_the_sayso_that_is_found_where_it_starts(tmp_path: Path) -> None:
    """A project in which a wheel is installed must not be tested with the checkout's modules."""
    script = tmp_path / "script.py"
    script.write_text("import approvals.domain; print(approvals.domain.__file__)")
    installed = tmp_path / "packages" / "approvals" / "domain"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    (installed.parent / "__init__.py").touch()

    def found(environment: dict[str, str], directory: Path) -> str:
        with Forked([script], environment=environment, name="script", directory=directory) as process:
            assert process.wait() == 0, process.output.text
            return process.output.text.strip()

    there = bare_environment() | {"PYTHONPATH": str(installed.parents[1])}
    assert found(bare_environment(), PROJECT) == str(PROJECT / "approvals" / "domain" / "__init__.py")
    assert found(there, tmp_path) == str(installed / "__init__.py")
