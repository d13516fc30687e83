"""The API of a real server: asked, awaited and decided by programs that are elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx
import pytest

from approvals.web.edge import tokens
from tests import factories as make
from tests.marks import both_databases
from tests.patience import patience
from tests.processes import Server

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack, pytest.mark.usefixtures("shared_server")]

QUESTION = {"kind": "approval", "title": "Refund", "arguments": {"order": 812}, "key": "refund-812"}


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    _, secret = tokens.issue(make.reviewer("rita").pk, "agent", ["ask", "decide", "read"])
    headers = {"authorization": f"Bearer {secret}", "user-agent": "an agent"}
    with httpx.Client(base_url=f"{server.url}/api/v1", headers=headers, timeout=patience()) as client:
        yield client


def test_it_is_asked_awaited_and_decided(client: httpx.Client) -> None:
    asked = client.post("/requests", json=QUESTION)
    assert asked.status_code == 201
    request_id = asked.json()["id"]
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(client.get, f"/requests/{request_id}/outcome", params={"wait": 20})
        decided = client.post(f"/requests/{request_id}/decision", json={"decision": "approve"})
        assert decided.status_code == 200
        outcome = waiting.result()
    assert outcome.status_code == 200
    assert decided.json().items() <= outcome.json().items()
    entries = client.get(f"/requests/{request_id}/history").json()["entries"]
    assert [entry["token"] for entry in entries] == ["agent", "agent"]
    assert entries[0]["user_agent"] == "an agent"


@both_databases
def test_many_who_ask_the_same_at_once_ask_once(client: httpx.Client) -> None:
    together = Barrier(8)

    def ask(_: int) -> tuple[int, str]:
        together.wait()
        response = client.post("/requests", json=QUESTION)
        return response.status_code, response.json()["id"]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(8)))
    assert sorted(status for status, _ in answers) == [200] * 7 + [201]
    assert len({request_id for _, request_id in answers}) == 1


def test_refusals_are_problems(client: httpx.Client) -> None:
    for response, status, code in (
        (client.get("/requests/x"), 404, "unknown_request"),
        (client.get("/nothing"), 404, "not_found"),
        (client.delete("/requests"), 405, "method_not_allowed"),
        (client.get("/requests", headers={"authorization": "Bearer x"}), 401, "unauthenticated"),
        (client.post("/requests", content=b"x" * 3_000_000), 413, "too_large"),
        (client.post("/requests", content=iter([b"x" * 100_000] * 30)), 413, "too_large"),
        (client.post("/requests", json=QUESTION | {"bogus": 1}), 422, "invalid"),
    ):
        assert (response.status_code, response.json()["code"]) == (status, code)
        assert response.headers["content-type"] == "application/problem+json"
