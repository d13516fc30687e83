"""A program that knows only docs/api.md: its examples, run as real processes against real servers."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.db import connection

from approvals.models import HumanRequest
from approvals.web.edge import tokens
from tests import factories as make
from tests.conftest import Manage, Serve, program_of_the_machine
from tests.patience import patience
from tests.processes import PROJECT, Process, Server, bare_environment, free_port
from tests.servers import PostgresServer

pytestmark = [pytest.mark.django_db, pytest.mark.processes]

DOCUMENT = (PROJECT / "docs" / "api.md").read_text(encoding="utf-8")

Run = Callable[..., Process]


def examples(name: str) -> list[str]:
    """The document's code blocks below a comment of this name, in order."""
    found = re.findall(rf"^<!-- {name} -->\n```\w+\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert found, f"docs/api.md has no example {name!r}"
    return found


@dataclass(frozen=True, slots=True)
class Callers:
    """The document's two: `billing`, which asks and starts runs, and `ann`, who decides; by their tokens."""

    billing: str
    ann: str

    def environment(self, server: Server) -> dict[str, str]:
        return bare_environment() | {
            "SAYSO_URL": server.url,
            "SAYSO_TOKEN": self.billing,
            "REVIEWER_TOKEN": self.ann,
        }

    def decide(self, server: Server, request_id: str, decision: str = "approve") -> Any:
        """Ann decides, at this server."""
        return self._post(server, self.ann, f"/requests/{request_id}/decision", {"decision": decision})

    def ask(self, server: Server, **question: Any) -> Any:
        """Billing asks, at this server."""
        return self._post(
            server, self.billing, "/requests", {"kind": "approval", "title": "Pay?", **question}
        )

    @staticmethod
    def _post(server: Server, token: str, path: str, body: dict[str, Any]) -> Any:
        answer = httpx.post(
            f"{server.url}/api/v1{path}",
            json=body,
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
            timeout=patience(),
        )
        assert answer.is_success, answer.text
        return answer.json()


@pytest.fixture
def callers() -> Callers:
    billing = make.user("billing", may=("add_run",))
    ann = make.reviewer("ann")
    return Callers(
        billing=tokens.issue(billing.pk, "nightly refunds", ["ask", "read"])[1],
        ann=tokens.issue(ann.pk, "desk", ["decide", "read"])[1],
    )


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Run an example as a program of its own, in an empty directory; killed at the end."""
    with ExitStack() as running:

        def start(program: str, environment: Mapping[str, str], *, shell: bool = False) -> Process:
            command = ["sh", "-euc", program] if shell else [sys.executable, "-c", program]
            return running.enter_context(
                Process(command, environment=environment, directory=tmp_path, name="example")
            )

        yield start


@pytest.fixture
def client(run: Run, callers: Callers) -> Callable[[Server], Process]:
    """The document's client of ten lines, asking and waiting at a server."""
    (program,) = examples("client")
    return lambda server: run(program, callers.environment(server))


def asked_by(client: Process) -> str:
    """The id of the one request there is, as soon as the client has asked it."""
    while (request := HumanRequest.objects.first()) is None:
        client.wait_briefly(0.02)
    return str(request.pk)


class TestTheClientOfTenLines:
    """It prints the outcome, whatever happened to servers meanwhile."""

    OUTCOME = "approved {'order': 812}"

    def test_it_has_ten_lines(self) -> None:
        """From the first to the last of its loop."""
        (program,) = examples("client")
        loop = program[program.index("while True:") :].partition("\n\n")[0]
        assert len(loop.strip().splitlines()) == 10

    def test_a_decision_ends_its_wait(
        self, client: Callable[[Server], Process], server: Server, callers: Callers
    ) -> None:
        waiting = client(server)
        callers.decide(server, asked_by(waiting))
        assert waiting.wait() == 0
        assert self.OUTCOME in waiting.output.text

    def test_it_waits_through_a_server_that_is_killed(
        self, client: Callable[[Server], Process], server: Server, callers: Callers
    ) -> None:
        """The decision is made at the server's successor."""
        waiting = client(server)
        request_id = asked_by(waiting)
        server.kill()
        with server.again() as successor:
            callers.decide(successor, request_id)
            assert waiting.wait() == 0
        assert self.OUTCOME in waiting.output.text

    @pytest.mark.one_stack
    def test_a_decision_made_without_a_server_reaches_it(
        self, client: Callable[[Server], Process], server: Server, manage: Manage
    ) -> None:
        """It is on record, and that is where the next server looks."""
        waiting = client(server)
        request_id = asked_by(waiting)
        server.kill()
        assert manage("decide", request_id, "approve", "--as", "ann").wait() == 0
        assert waiting.running
        with server.again():
            assert waiting.wait() == 0
        assert self.OUTCOME in waiting.output.text

    @pytest.mark.one_stack
    def test_it_may_be_killed_itself(
        self, client: Callable[[Server], Process], server: Server, callers: Callers
    ) -> None:
        """Started again, it finds what it has asked."""
        first = client(server)
        request_id = asked_by(first)
        first.kill()
        second = client(server)
        callers.decide(server, request_id)
        assert second.wait() == 0
        assert self.OUTCOME in second.output.text
        assert HumanRequest.objects.count() == 1

    def test_it_waits_for_a_database_that_is_away(
        self,
        private_postgres: PostgresServer,
        client: Callable[[Server], Process],
        server: Server,
        callers: Callers,
    ) -> None:
        """Begun while nothing can be asked, it asks as soon as it can."""
        connection.close()  # this process's own would be broken
        private_postgres.stop()
        waiting = client(server)
        server.output.wait_for("path=/api/v1/requests")
        assert waiting.running
        private_postgres.start()
        callers.decide(server, asked_by(waiting))
        assert waiting.wait() == 0
        assert self.OUTCOME in waiting.output.text

    @pytest.mark.one_stack
    def test_what_is_refused_ends_it_with_the_reason(
        self, run: Run, server: Server, callers: Callers
    ) -> None:
        (program,) = examples("client")
        mistaken = program.replace('"title"', '"titel"')
        refused = run(mistaken, callers.environment(server))
        assert refused.wait() == 1
        assert '"title is required."' in refused.output.text
        assert "Traceback" not in refused.output.text

    @pytest.mark.stacks("postgresql-redis")
    def test_it_is_answered_from_another_process(
        self, client: Callable[[Server], Process], serve: Serve, callers: Callers
    ) -> None:
        """Asked and waited for at one server, decided at another."""
        here, there = serve(), serve()
        waiting = client(here)
        callers.decide(there, asked_by(waiting))
        assert waiting.wait() == 0
        assert self.OUTCOME in waiting.output.text


@pytest.mark.one_stack
class TestExamples:
    """They do what the document says, in its order."""

    def test_each_after_the_other(
        self, run: Run, client: Callable[[Server], Process], server: Server, callers: Callers, tmp_path: Path
    ) -> None:
        """Those of README, of the document and of the API's own page, with the same two accounts."""
        (readme,) = re.findall(r"--json '(\{.*\})'", (PROJECT / "README.md").read_text(encoding="utf-8"))
        callers.ask(server, **json.loads(readme))
        waiting = client(server)
        callers.decide(server, asked_by(waiting))
        assert waiting.wait() == 0
        self.follow_curl(run, callers.environment(server), tmp_path)
        program = run("\n".join(examples("python")), callers.environment(server))
        assert program.wait() == 0, program.output.text
        assert "nightly refunds" in program.output.text
        assert list(self.try_those_of_the_page(server, callers)) == [201, 201, 201]

    @staticmethod
    def follow_curl(run: Run, environment: dict[str, str], folder: Path) -> None:
        program_of_the_machine("curl")
        ask, wait, decide, history = examples("curl")
        assert run(f"{ask}\ntest -n $ID", environment, shell=True).wait() == 0
        asked = json.loads((folder / "asked.json").read_text())
        environment["ID"] = asked["id"]
        waiting = run(wait, environment, shell=True)
        decided = run(decide, environment, shell=True)
        assert decided.wait() == 0
        assert json.loads(decided.output.text)["status"] == "approved"
        assert waiting.wait() == 0
        body, status = waiting.output.text.split("\n")[:2]
        assert (json.loads(body)["decided_by"], status) == ("ann", "200")
        told = run(history, environment, shell=True)
        assert told.wait() == 0
        entries = json.loads(told.output.text)["entries"]
        assert [entry["token"] for entry in entries] == ["nightly refunds", "desk"]

    @staticmethod
    def try_those_of_the_page(server: Server, callers: Callers) -> Iterator[int]:
        """Ask and start what the page offers to try out; the status of each answer."""
        headers = {"Authorization": f"Bearer {callers.billing}"}
        with httpx.Client(
            base_url=server.url, headers=headers, trust_env=False, timeout=patience()
        ) as program:
            described = program.get("/api/v1/openapi.json").json()
            for path in ("/api/v1/requests", "/api/v1/runs"):
                body = described["paths"][path]["post"]["requestBody"]["content"]["application/json"]
                offered = [example["value"] for example in body.get("examples", {}).values()]
                if "$ref" in body["schema"]:
                    name = body["schema"]["$ref"].rpartition("/")[2]
                    offered += described["components"]["schemas"][name].get("examples", [])
                for question in offered:
                    yield program.post(path, json=question).status_code

    def test_the_socket(self, run: Run, server: Server, callers: Callers) -> None:
        callers.ask(server, title="Asked before")
        (example,) = examples("socket")
        program = run(example, callers.environment(server))
        program.output.wait_for("pending: ['Asked before']")
        asked = callers.ask(server)
        assert program.wait() == 0, program.output.text
        assert "approved" in program.output.text
        assert HumanRequest.objects.get(pk=asked["id"]).status == "approved"

    def test_the_receiver_of_callbacks(
        self, run: Run, serve: Serve, callers: Callers, manage: Manage
    ) -> None:
        """With the secret that the command prints, and at an address that the installation allows."""
        server = serve(SAYSO_CALLBACK_HOSTS="127.0.0.1", SAYSO_CALLBACK_NETWORKS="127.0.0.0/8")
        secret = manage("webhook_secret", "billing")
        assert secret.wait() == 0
        port = str(free_port())
        (example,) = examples("receiver")
        own = {"WEBHOOK_SECRET": secret.output.text.strip(), "RECEIVER_PORT": port}
        receiver = run(example, callers.environment(server) | own)
        until_it_listens(receiver, port)
        asked = callers.ask(server, callback_url=f"http://127.0.0.1:{port}/outcomes")
        callers.decide(server, asked["id"], "reject")
        receiver.output.wait_for(f"{asked['id']} rejected")


def until_it_listens(receiver: Process, port: str) -> None:
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}", timeout=patience(), trust_env=False)
        except httpx.TransportError:
            receiver.wait_briefly(0.02)
        else:
            return


def test_a_run_started_from_outside_is_taken_up_and_ends(server: Server) -> None:
    """Started and decided over HTTP; the server that was asked executes it, at once."""
    owner = make.user("oona", may=("add_run",))
    secret = tokens.issue(owner.pk, "release", ["ask", "read", "decide"])[1]
    with httpx.Client(
        base_url=f"{server.url}/api/v1",
        headers={"Authorization": f"Bearer {secret}"},
        trust_env=False,
        timeout=patience(),
    ) as program:
        body = {"orchestration": "checklist", "input": {"title": "Release", "items": ["Green"]}}
        run = program.post("/runs", json=body).raise_for_status().json()
        while not run["waiting_for"]:
            server.wait_briefly(0.02)
            run = program.get(f"/runs/{run['id']}").raise_for_status().json()
        (request_id,) = run["waiting_for"]
        program.post(f"/requests/{request_id}/decision", json={"decision": "approve"}).raise_for_status()
        while run["finished_at"] is None:
            server.wait_briefly(0.02)
            run = program.get(f"/runs/{run['id']}").raise_for_status().json()
    assert run["status"] == "completed"
