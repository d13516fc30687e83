"""`manage.py benchmark` as somebody calls it: wrongly, interrupted, and where a wait was lost."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from orchestration.benchmark.load import Decider, Waiter
from orchestration.benchmark.processes import Environment
from orchestration.benchmark.report import Check, Report, Scenario
from orchestration.benchmark.scenarios import scenarios
from orchestration.management.commands import benchmark
from tests.conftest import Manage
from tests.orchestration.benchmark.conftest import Measure
from tests.orchestration.benchmark.remotes import Dreaming, Forgetful, Stuttering
from tests.patience import patience
from tests.processes import Process, free_port
from tests.stacks import Stack

INTERRUPTED, MISUSE = 130, 2


@pytest.fixture
def folder() -> Iterator[Path]:
    """For everything temporary of the command; every user may pass through it, as through /tmp."""
    with tempfile.TemporaryDirectory(prefix="sayso-tests-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
def powerless(stack: Stack) -> Iterator[str]:
    """The URL of a user of the same server who may connect to it, and no more."""
    parts = urlsplit(stack.environment["DATABASE_URL"])
    name = "sayso_tests_powerless"
    with psycopg.connect(parts.geturl(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'none'")
        try:
            yield parts._replace(netloc=f"{name}:none@{parts.netloc.rpartition('@')[2]}").geturl()
        finally:
            connection.execute(f"DROP ROLE {name}")


class TestMisuse:
    """Exit status 2, what is wrong in one line, and nothing created."""

    pytestmark = pytest.mark.one_stack

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["speed"], "There is no scenario 'speed'; there are "),
            (["latency", "--size", "100001"], "latency measures 1 to 100,000 others waiting, not 100,001."),
            (["latency", "--size", "0"], "latency measures 1 to 100,000 others waiting, not 0."),
            (["latency", "--rounds", "0"], "--rounds: at least one."),
            (["latency", "--json", "/nowhere/at/all.json"], "--json: /nowhere/at/all.json is no file"),
            (["latency", "--plot", "/"], "--plot: / is no file"),
        ],
    )
    def test_of_options(
        self, stack: Stack, manage: Manage, folder: Path, arguments: list[str], said: str
    ) -> None:
        command = manage("benchmark", *arguments, environment=stack.environment | {"TMPDIR": str(folder)})
        assert (command.wait(), list(folder.iterdir())) == (MISUSE, []), command.output.text
        assert said in command.output.text
        assert "Traceback" not in command.output.text

    @pytest.mark.parametrize(
        ("variable", "url"),
        [
            ("DATABASE_URL", "postgres://somebody:secret@127.0.0.1:{}/sayso"),
            ("REDIS_URL", "redis://:secret@127.0.0.1:{}/0"),
        ],
    )
    def test_a_server_that_does_not_answer_is_named(
        self, stack: Stack, manage: Manage, folder: Path, variable: str, url: str
    ) -> None:
        """By its place; who logs in there, and how, is not told."""
        port = free_port()
        environment = stack.environment | {"TMPDIR": str(folder), variable: url.format(port)}
        command = manage("benchmark", "latency", environment=environment)
        assert (command.wait(), list(folder.iterdir())) == (MISUSE, []), command.output.text
        assert f"{variable}: " in command.output.text
        assert f"127.0.0.1:{port} does not answer." in command.output.text
        assert "secret" not in command.output.text

    @pytest.mark.stacks("postgresql-redis")
    def test_a_user_who_may_not_create_a_database_is_told_so(
        self, stack: Stack, manage: Manage, folder: Path, powerless: str
    ) -> None:
        environment = stack.environment | {"TMPDIR": str(folder), "DATABASE_URL": powerless}
        command = manage("benchmark", "latency", environment=environment)
        assert (command.wait(), list(folder.iterdir())) == (MISUSE, []), command.output.text
        assert "permission denied to create database" in command.output.text
        assert "Traceback" not in command.output.text


@pytest.mark.processes
class TestInterrupted:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
    def test_in_the_middle_it_leaves_nothing(
        self, stack: Stack, manage: Manage, folder: Path, number: signal.Signals
    ) -> None:
        """No process, no folder, no database."""
        embedded = ["--embedded"] if stack.engine == "sqlite" else []
        environment = stack.environment | {"TMPDIR": str(folder)}
        command = manage("benchmark", "latency", *embedded, environment=environment)
        started = processes_of(command, processes=2 if stack.engine == "postgresql" else 1)
        assert list(folder.iterdir())
        command.signal(number)
        assert command.wait() == INTERRUPTED, command.output.text
        assert "Interrupted." in command.output.text
        assert "Traceback" not in command.output.text
        assert list(folder.iterdir()) == []
        assert not [process for process in started if process.is_running()]
        assert databases_of_benchmarks(stack) == []

    @pytest.mark.one_stack
    def test_servers_of_its_own_end_too(self, stack: Stack, manage: Manage, folder: Path) -> None:
        command = manage("benchmark", "latency", environment=stack.environment | {"TMPDIR": str(folder)})
        started = processes_of(command, processes=2)
        assert {"postgres", "redis-server"} <= {process.name() for process in started}
        command.signal(signal.SIGINT)
        assert command.wait() == INTERRUPTED, command.output.text
        assert list(folder.iterdir()) == []
        assert not [process for process in started if process.is_running()]

    @pytest.mark.one_stack
    def test_even_killed_it_leaves_no_process(self, stack: Stack, manage: Manage, folder: Path) -> None:
        """Nobody cleans up, but all that it started ends with it."""
        command = manage("benchmark", "latency", environment=stack.environment | {"TMPDIR": str(folder)})
        started = processes_of(command, processes=2)
        command.kill()
        _, alive = psutil.wait_procs(started, timeout=patience())
        assert alive == []


def processes_of(command: Process, *, processes: int) -> list[psutil.Process]:
    """Everything that the command has started, once so many processes of a scenario are at work."""
    while True:
        command.wait_briefly(0.05)
        children: list[psutil.Process] = psutil.Process(command.pid).children(recursive=True)
        at_work = [child for child in children if "orchestration.benchmark.child" in _arguments(child)]
        if len(at_work) >= processes:
            return children


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


def databases_of_benchmarks(stack: Stack) -> list[str]:
    if stack.engine == "sqlite":
        return []
    with psycopg.connect(stack.environment["DATABASE_URL"]) as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'sayso_benchmark_%'")
        return [name for (name,) in rows]


def scenario_with(waiter: type[Waiter]) -> Scenario:
    """Three waits, all decided; what its waiter reports is its own."""

    async def measure(environment: Environment, sizes: Sequence[int]) -> Report:
        waiting = await environment.start(waiter)
        decider = await environment.start(Decider, beside=waiting)
        ids = await waiting.open(sizes[0])
        await waiting.wait(ids)
        await decider.decide_all(ids)
        told = await waiting.told(ids)
        check = Check.of(told, await decider.recorded(ids))
        report = Report(check)
        report.table("Ids", "id", [(id_,) for id_ in ids])
        return report

    return Scenario("faked", measure, unit="waits", sizes=(3,), most=3, memory=(0, 0))


@pytest.mark.processes
@pytest.mark.one_stack
class TestItsCheck:
    @pytest.mark.parametrize(
        ("waiter", "fault"),
        [
            (Forgetful, "lost"),
            (Stuttering, "resolved twice"),
            (Dreaming, "told what is not on record"),
        ],
    )
    def test_names_the_wait_that_went_wrong_and_exits_with_1(
        self, measure: Measure, monkeypatch: pytest.MonkeyPatch, waiter: type[Waiter], fault: str
    ) -> None:
        monkeypatch.setattr(benchmark, "scenarios", lambda: {"faked": scenario_with(waiter)})
        run, refusal = measure("faked")
        assert refusal is not None
        assert refusal.returncode == 1
        first = run["scenarios"][0]["tables"][0]["rows"][0][0]
        assert f"faked: {fault}: {first}" in str(refusal)
        assert run["passed"] is False

    def test_passes_where_nothing_did(self, measure: Measure, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(benchmark, "scenarios", lambda: {"faked": scenario_with(Waiter)})
        run, refusal = measure("faked")
        assert (run["passed"], refusal) == (True, None)
        assert run["scenarios"][0]["check"]["resolved"] == 3


@pytest.mark.one_stack
def test_help_tells_the_method_of_each_scenario(stack: Stack, manage: Manage) -> None:
    command = manage("benchmark", "--help")
    assert command.wait() == 0
    words = " ".join(command.output.text.split())
    for scenario in scenarios().values():
        assert f"{scenario.name}: {scenario.summary}" in words
        assert " ".join(scenario.method.split()) in words
