"""What forks of prepared processes have loaded, and that they are used."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests import prepared_installations
from tests.prepared_installations import MANAGE
from tests.processes import PROJECT, Forked, bare_environment, manage, run_manage
from tests.stacks import Stack

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


@pytest.mark.one_stack
class TestInstallations:
    def test_what_starts_in_an_environment_again_is_a_fork_of_one_that_has_loaded_it(
        self, stack: Stack, tmp_path: Path
    ) -> None:
        environment = stack.fresh_environment(tmp_path)
        command = [MANAGE, "check"]
        assert prepared_installations.find(command, environment, PROJECT) is None
        installation = prepared_installations.find(command, environment, PROJECT)
        assert installation is not None
        with (tmp_path / "output").open("w+") as output:
            started = installation.start(command, (output.fileno(),) * 3)
            assert started is not None
            started.join(60)
            output.seek(0)
            assert (started.exitcode, output.read()) == (
                0,
                "System check identified no issues (0 silenced).\n",
            )

    def test_it_ends_as_any_process_does(self, stack: Stack, tmp_path: Path) -> None:
        environment = stack.fresh_environment(tmp_path)
        refused = [run_manage("check", "--tag", "none", environment=environment) for _ in range(3)]
        assert len({(each.returncode, each.stdout, each.stderr) for each in refused}) == 1
        assert refused[0].returncode == 1
        with manage("serve", "--port", "0", environment=environment) as process:
            process.kill()
            assert process.wait() == -signal.SIGKILL

    def test_other_variables_are_another_installation(self, stack: Stack, tmp_path: Path) -> None:
        environment = stack.fresh_environment(tmp_path)
        wrong = environment | {"SAYSO_LEASE": "-1"}
        for _ in range(3):
            assert run_manage("orchestrations", environment=environment).returncode == 0
            assert run_manage("orchestrations", environment=wrong).returncode == 1

    @pytest.mark.parametrize("variable", ["PYTHONPATH", "SAYSO_APPS"])
    def test_code_that_a_test_may_change_is_loaded_anew(self, variable: str, tmp_path: Path) -> None:
        environment = {**bare_environment(), variable: "shop"}
        for _ in range(2):
            assert prepared_installations.find([MANAGE, "check"], environment, PROJECT) is None
