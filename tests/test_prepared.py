"""What forks of prepared processes have loaded, and that they are used."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests import prepared_installations
from tests.patience import patience
from tests.prepared_installations import MANAGE, Installation, Loads, find
from tests.processes import PROJECT, Forked, bare_environment, run_manage
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
    @pytest.mark.parametrize("command", ["audit_verify", "orchestrations", "check", "serve"])
    def test_what_starts_in_an_environment_again_is_a_fork_of_one_that_has_loaded_it(
        self, stack: Stack, tmp_path: Path, command: str
    ) -> None:
        arguments, environment = [MANAGE, command, "--help"], stack.fresh_environment(tmp_path)
        assert find(arguments, environment, PROJECT) is None
        find(arguments, environment, PROJECT)
        *_, installation = prepared_installations._installations.values()
        assert installation.is_ready(patience())
        assert find(arguments, environment, PROJECT) is installation
        with (tmp_path / "output").open("w+") as output:
            started = installation.start(arguments, (output.fileno(),) * 3)
            assert started is not None
            started.join(patience())
            output.seek(0)
            assert output.read().startswith(f"usage: manage.py {command} ")
            assert started.exitcode == 0

    def test_an_installation_loads_in_a_terminal_too(self, stack: Stack) -> None:
        installation = Installation(stack.environment, Loads.APPS, terminal=True)
        assert installation.is_ready(patience())
        installation.end()

    def test_its_forks_end_as_any_process_does(self, stack: Stack, tmp_path: Path) -> None:
        installation = Installation(stack.environment, Loads.SERVER)
        assert installation.is_ready(patience())
        with (tmp_path / "output").open("w+") as output:
            streams = (output.fileno(),) * 3
            killed = installation.start([MANAGE, "serve", "--port", "0"], streams)
            refused = installation.start([MANAGE, "serve", "--port", "none"], streams)
            assert killed is not None
            assert refused is not None
            os.kill(killed.pid, signal.SIGKILL)
            for each, status in ((killed, -signal.SIGKILL), (refused, 2)):
                each.join(patience())
                assert each.exitcode == status
        installation.end()

    def test_one_that_can_not_be_loaded_is_not_used(self, stack: Stack) -> None:
        installation = Installation(stack.environment | {"SAYSO_LEASE": "soon"}, Loads.APPS)
        assert not installation.is_ready(patience())
        assert installation.is_lost

    def test_other_variables_are_another_installation(self, stack: Stack) -> None:
        wrong = stack.environment | {"SAYSO_LEASE": "-1"}
        for _ in range(4):
            assert run_manage("orchestrations", environment=stack.environment).returncode == 0
            assert run_manage("orchestrations", environment=wrong).returncode == 1

    @pytest.mark.parametrize(
        "more", [{"PYTHONPATH": "/shop"}, {"SAYSO_APPS": "shop"}, {"SAYSO_SECRET_KEY": ""}]
    )
    def test_what_a_test_may_change_is_read_anew(self, stack: Stack, more: dict[str, str]) -> None:
        for _ in range(2):
            assert find([MANAGE, "check"], stack.environment | more, PROJECT) is None
        assert not [
            key for key in prepared_installations._seen if more.items() <= dict(key.environment).items()
        ]
