"""Programs with the client: real processes and servers, which are killed while somebody waits."""

from __future__ import annotations

import json
import sys
from threading import Thread
from typing import Any

import pytest
from sayso_client import Outcome, Sayso

from approvals.web.edge import tokens
from tests import factories as make
from tests.conftest import Serve
from tests.processes import PROJECT, Process, Server, bare_environment

pytestmark = [pytest.mark.django_db, pytest.mark.processes, pytest.mark.one_stack]


@pytest.fixture
def asking() -> str:
    return tokens.issue(make.user("billing").pk, "agent", ["ask"])[1]


@pytest.fixture
def deciding() -> str:
    return tokens.issue(make.reviewer("ann").pk, "page", ["decide", "read"])[1]


def command(server: Server, token: str, *arguments: str) -> Process:
    """The command `sayso` of another machine: it has the client, and nothing of the server."""
    environment = {"SAYSO_URL": server.url, "SAYSO_TOKEN": token, "PYTHONPATH": str(PROJECT / "client")}
    started = [sys.executable, "-m", "sayso_client.terminal", *arguments]
    return Process(started, environment=bare_environment() | environment, name="sayso")


def test_waits_last_through_the_end_and_the_return_of_the_server(
    serve: Serve, asking: str, deciding: str
) -> None:
    """Of one request, and of many at once."""
    with serve() as server, Sayso(server.url, asking) as program:
        requests = [
            program.open_approval("Refund?", key=f"k{number}", arguments={"order": 2**60 + number})
            for number in range(3)
        ]
        outcomes: list[Outcome] = []
        several: list[Outcome] = []
        waits = [
            Thread(target=lambda: outcomes.append(requests[0].wait())),
            Thread(target=lambda: several.extend(program.wait_all([each.id for each in requests]))),
        ]
        for wait in waits:
            wait.start()
        server.kill()
        with server.again() as again, Sayso(again.url, deciding) as reviewer:
            for request in requests:
                reviewer.decide(request.id, "approve")
            for wait in waits:
                wait.join(60)
    assert [outcome.arguments for outcome in outcomes] == [{"order": 2**60}]
    assert [outcome.request_id for outcome in several] == [each.id for each in requests]


def test_a_program_that_is_killed_finds_its_request_again(server: Server, asking: str, deciding: str) -> None:
    """By its key, in the terminal; then the exit status says what was decided."""
    ask = ("approve", "Deploy?", "--key", "deploy-1", "--arguments", '{"to": "production"}', "--json")
    with command(server, asking, *ask) as first:
        first.output.wait_for("waiting for a person: ")
        first.kill()
    with Sayso(server.url, deciding) as reviewer:
        (request,) = reviewer.requests(status="pending")
        with command(server, asking, *ask) as second:
            second.output.wait_for(request.id)
            reviewer.decide(request.id, "reject", comment="not on Fridays")
            assert second.wait() == 3
            told: dict[str, Any] = json.loads(second.output.text.splitlines()[-1])
    assert (told["status"], told["comment"]) == ("rejected", "not on Fridays")


def test_the_whole_terminal(server: Server, asking: str, deciding: str) -> None:
    """Ask, list, answer, decide, withdraw; each says by its exit status what came of it."""

    def sayso(token: str, *arguments: str) -> tuple[int, str]:
        with command(server, token, *arguments) as process:
            return process.wait(), process.output.text.strip()

    status, text = sayso(asking, "ask", "Which?", "--key", "q", "--choice", "eu", "--patience", "0")
    assert status == 4
    with Sayso(server.url, deciding) as reviewer:
        (request,) = reviewer.requests()
    assert f"Wait again with: sayso wait {request.id}" in text
    assert sayso(asking, "list", "--asked") == (0, f"{request.id}  pending     Which?")
    assert sayso(deciding, "answer", request.id, "eu")[0] == 0
    assert sayso(asking, "wait", request.id) == (0, "eu")
    assert sayso(deciding, "decide", request.id, "approve")[0] == 2
    status, text = sayso(asking, "approve", "", "--key", "k")
    assert (status, text) == (2, "title: title must have at least 1 character.")
    status, text = sayso(asking, "approve", "Pay?", "--key", "k", "--timeout", "0.01")
    assert (status, text.splitlines()[-1]) == (4, "Nobody decided in time.")
    status, text = sayso("nonsense", "list")
    assert (status, text) == (1, "This token is unknown, or it has expired or been revoked.")
