"""An installation of several processes, whose parts are broken while people use it; and its audit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from approvals.database.threads import in_database
from approvals.web.edge import tokens
from tests import factories, processes, shared
from tests.faults.ledger import Ledger, Report, audit
from tests.faults.people import Person, pause
from tests.processes import Process, ProcessEnded, Server
from tests.stacks import Stack

server, shared_server = shared.server, shared.shared_server

# Seconds after which a test is taken to hang. How soon something must happen, the audit says.
PATIENCE = 180.0
RECHECK = 3.0
# A process that stands still for two thirds of it loses its runs, which busy cores must not bring about.
LEASE = 6.0
# Beside the re-check's interval: what busy cores may take until somebody who waits is told. Far less than a
# poll is held, at whose end the row is read anyway.
SLACK = 20.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Faults take their time, and so do several servers on a slow machine."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(420))
            if "installation" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.processes)


class Installation:
    """Servers and workers on the stack's database and layer, with the people who use them, and one ledger."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.ledger = Ledger(folder / "ledger.jsonl")
        self.servers: list[Server] = []
        self.workers: list[Process] = []
        self._armed = folder / "failpoints"
        self._armed.mkdir()
        self._running = ExitStack()
        self._people = AsyncExitStack()

    @property
    def environment(self) -> dict[str, str]:
        """Of each process under test."""
        return self.stack.environment | {
            "DJANGO_SETTINGS_MODULE": "tests.faults.settings",
            "SAYSO_TEST_FAILPOINTS": str(self._armed),
            "SAYSO_TEST_LEDGER": str(self.ledger.path),
            "SAYSO_RECHECK_INTERVAL": str(RECHECK),
            "SAYSO_LEASE": str(LEASE),
            "SAYSO_RATE_LIMIT": "0",
            "SAYSO_ADDRESS_RATE_LIMIT": "0",
        }

    @property
    def executors(self) -> list[Process]:
        """The processes in which runs execute."""
        return self.workers if self.stack.workers else list(self.servers)

    async def serve(self, number: int = 1, **environment: str) -> list[Server]:
        """So many more servers, all of which answer."""
        started = [
            self._running.enter_context(Server(environment=self.environment | environment))
            for _ in range(number)
        ]
        self.servers += started
        for server in started:
            await asyncio.to_thread(server.ready)
        return started

    async def restart(self, server: Server) -> Server:
        """The successor of a server that has just ended, or is about to, at the same address."""
        await asyncio.to_thread(server.wait)
        successor = Server(environment=server.environment, port=server.port)
        self.servers[self.servers.index(server)] = self._running.enter_context(successor)
        await asyncio.to_thread(successor.ready)
        self.ledger.over("restart")
        return successor

    async def execute(self, number: int, **environment: str) -> list[Process]:
        """So many processes more in which runs execute: servers; or one server, and so many workers. All."""
        if not self.stack.workers:
            await self.serve(number, **environment)
            return self.executors
        for _ in range(number):
            worker = processes.manage("work", environment=self.environment | environment)
            self.workers.append(self._running.enter_context(worker))
        await self.serve(1, **environment)
        for worker in self.workers:
            await asyncio.to_thread(worker.output.wait_for, "Sayso works on")
        return self.executors

    async def another(self) -> Process:
        """One more process in which runs execute. What it takes up may end it before it is ready."""
        if self.stack.workers:
            worker = processes.manage("work", environment=self.environment)
            self.workers.append(self._running.enter_context(worker))
            return worker
        server = self._running.enter_context(Server(environment=self.environment))
        self.servers.append(server)
        with suppress(ProcessEnded):
            await asyncio.to_thread(server.ready)
        return server

    def start(self, *arguments: str, **environment: str) -> Process:
        """A command in a process of its own."""
        return self._running.enter_context(
            processes.manage(*arguments, environment=self.environment | environment)
        )

    async def decided_by_command(self, person: Person, request_id: str, verdict: str = "approve") -> Process:
        """Decide by `manage.py decide`, and note what that says; the ended process."""
        command = self.start("decide", request_id, verdict, "--as", person.name, "--json")
        if await asyncio.to_thread(command.wait):
            code = command.output.text.rpartition("CommandError: ")[2].partition(":")[0]
            self.ledger.refused(person.name, request_id, code)
        else:
            text = command.output.text
            outcome, _ = json.JSONDecoder().raw_decode(text, text.index("{"))  # behind warnings, if any
            self.ledger.decided(person.name, request_id, verdict, outcome)
        return command

    async def person(self, name: str) -> Person:
        """Somebody who may ask, decide whatever is asked of nobody in particular, and start runs."""
        token = await in_database(_token, name)
        urls = [server.url for server in self.servers]
        return await self._people.enter_async_context(Person(name, token, self.ledger, urls))

    def arm(self, failpoint: str, action: str) -> None:
        """The next process that reaches this failpoint does this, once."""
        (self._armed / f"{failpoint}.new").write_text(action)
        (self._armed / f"{failpoint}.new").rename(self._armed / failpoint)

    async def until_hit(self, failpoint: str) -> int:
        """The process that has reached the failpoint."""
        while not (hit := list(self._armed.glob(f"{failpoint}.[0-9]*"))):
            await pause()
        hit[0].unlink()
        return int(hit[0].suffix[1:])

    async def until_waiting(self, server: Server, number: int) -> None:
        """So many waits are pending in this server."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            while (await client.get(f"{server.url}/under-test/")).json()["waits"] < number:
                await pause()

    def process_of(self, run_id: str, step: str = "begin") -> Process:
        """The one in which this step of the run had its effect last."""
        (*_, last) = self.effects(run_id, step)
        (found,) = [each for each in self.executors if each.pid == int(last.partition("/")[0])]
        return found

    def effects(self, run_id: str, step: str) -> list[str]:
        """Every effect that this step of the run had."""
        of_step = {"what": "performed", "run": run_id, "step": step}
        return [note["effect"] for note in self.ledger.notes() if of_step.items() <= note.items()]

    async def audited(self) -> Report:
        """The audit, which must find everything resolved, in time, and nothing wrong."""
        environment = self.stack.environment
        database = environment.get("DATABASE_URL") or Path(environment["SAYSO_VAR"]) / "sayso.sqlite3"
        report = await asyncio.to_thread(audit, self.ledger, database, prompt=RECHECK + SLACK)
        assert report.sound, report
        return report

    async def close(self) -> None:
        await self._people.aclose()
        self._running.close()


@pytest.fixture
async def installation(stack: Stack, tmp_path: Path) -> AsyncIterator[Installation]:
    """Nothing runs yet; whatever does in the end is killed."""
    installation = Installation(stack, tmp_path)
    yield installation
    await installation.close()


def _token(name: str) -> str:
    user = factories.user(name, may=("decide_humanrequest", "add_run"))
    return tokens.issue(user.pk, "faults", ["ask", "decide", "read"])[1]
