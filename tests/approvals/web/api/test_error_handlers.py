"""The API's edge: whatever comes in and whatever goes wrong, the answer is a problem that says enough."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIHandler
from django.db import DataError, InterfaceError, OperationalError
from django.test import Client

from approvals import deciding, queries
from approvals.database.threads import in_database
from approvals.exceptions import REFUSALS, Busy, Unavailable
from approvals.models import HumanRequest
from approvals.web.api.bodies import BODY_LIMIT
from approvals.web.edge import tokens
from approvals.web.edge.problems import STATUSES
from tests import factories as make
from tests.approvals.web.api.program import ROOT, Program, fields_at_fault

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

MEMBERS = {"type", "title", "status", "detail", "code"}


@pytest.fixture
def program(stack: Any) -> Program:
    return Program.of(make.reviewer("rita"))


class TestBodies:
    @pytest.mark.parametrize(
        "body",
        [
            "",
            "{",
            "nothing",
            "[]",
            '"text"',
            "1",
            "null",
            '{"kind": "approval", "title": NaN}',
            '{"kind": "approval", "title": "x", "timeout": Infinity}',
            '{"kind": "approval", "kind": "approval", "title": "x"}',
            '{"kind": "approval", "title": "x", "arguments": {"a": {"b": 1, "b": 2}}}',
            b'{"kind": "approval", "title": "\xff"}',
            '{"kind": "approval"}'.encode("utf-16"),
            '{"a":' * 100_000,
            "[" * 100_000,
            '{"a": ' + "9" * 5000 + "}",
        ],
    )
    def test_what_is_no_json_object_is_refused(self, program: Program, body: str | bytes) -> None:
        problem = program.send("/requests", body, 422)
        assert (problem["code"], fields_at_fault(problem)) == ("invalid", [""])

    @pytest.mark.parametrize(
        ("value", "at_fault"),
        [
            ('"\\ud800"', "title"),
            ('"\\u0000"', "title"),
            ("1e999", "title"),
            ('{"a": "\\udfff"}', "title.a"),
            ("[" * 70 + "]" * 70, "title" + "[0]" * 67),
        ],
    )
    def test_what_cannot_be_recorded_is_named(self, program: Program, value: str, at_fault: str) -> None:
        problem = program.send("/requests", f'{{"kind": "approval", "title": {value}}}', 422)
        assert fields_at_fault(problem) == [at_fault]

    def test_arguments_may_be_as_large_as_payloads(self, program: Program) -> None:
        program.ask(arguments={"text": "x" * 1_048_000})
        problem = program.ask(arguments={"text": "x" * 1_049_000}, status=422)
        assert fields_at_fault(problem) == ["arguments"]

    def test_a_body_beyond_that_is_too_large(self, program: Program) -> None:
        body = json.dumps({"kind": "approval", "title": "x", "details": "x" * BODY_LIMIT})
        assert program.send("/requests", body, 413)["code"] == "too_large"
        assert program.send("/requests", "x" * 3_000_000, 413)["code"] == "too_large"
        assert not HumanRequest.objects.exists()

    def test_more_faults_than_anybody_reads_are_not_all_told(self, program: Program) -> None:
        """A body of faults alone would otherwise make an answer many times its size."""
        for faults, told in ((100_000, 1), (80, 80)):
            body = {"kind": "approval", "title": "x"} | {f"a{number}": 0 for number in range(faults)}
            assert len(program.post("/requests", body, 422)["errors"]) == told

    @pytest.mark.parametrize(
        "media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
    )
    def test_a_body_of_another_type_is_refused(self, program: Program, media_type: str) -> None:
        body = b'{"kind": "approval", "title": "x"}'
        response = program.client.generic("POST", f"{ROOT}/requests", body, content_type=media_type)
        assert (response.status_code, response.json()["code"]) == (422, "invalid")


async def test_a_body_of_unknown_length_is_bounded_too(stack: Any) -> None:
    """In chunks, without Content-Length: no more of it is read than may be."""
    user = await in_database(make.user)
    _, secret = await in_database(tokens.issue, user.pk, "t", ["ask"])
    parts = iter([b'{"details": "'] + [b"x" * 100_000] * 30 + [b'"}'])
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        body = next(parts, None)
        if body is None:
            await asyncio.Event().wait()  # the client stays
        return {"type": "http.request", "body": body, "more_body": body != b'"}'}

    async def send(message: Any) -> None:
        said.append(message)

    headers = [
        (b"host", b"localhost"),
        (b"authorization", f"Bearer {secret}".encode()),
        (b"content-type", b"application/json"),
    ]
    scope = {
        "type": "http",
        "method": "POST",
        "path": f"{ROOT}/requests",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
    }
    await ASGIHandler()(scope, receive, send)
    assert said[0]["status"] == 413


class TestAddresses:
    @pytest.mark.parametrize("path", ["/", "/nothing", "/requests/", "/requests/x/nothing", "/decisions/1"])
    @pytest.mark.parametrize("method", ["get", "post", "delete"])
    def test_an_unknown_one_is_a_problem(self, stack: Any, method: str, path: str) -> None:
        response = getattr(Client(), method)(ROOT + path)
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
        assert response.headers["Content-Type"] == "application/problem+json"

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("delete", "/requests", {"GET", "POST"}),
            ("put", "/requests/x", {"GET"}),
            ("get", "/requests/x/decision", {"POST"}),
            ("patch", "/decisions", {"POST"}),
            ("delete", "/openapi.json", {"GET", "HEAD"}),
            ("post", "/docs", {"GET", "HEAD"}),
        ],
    )
    def test_a_method_that_it_does_not_take(
        self, program: Program, method: str, path: str, allowed: set[str]
    ) -> None:
        response = getattr(program.client, method)(ROOT + path)
        assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
        assert set(response.headers["Allow"].split(", ")) == allowed

    def test_more_parameters_than_django_reads_are_refused(self, program: Program) -> None:
        problem = program.get("/requests", 422, **{f"a{number}": 1 for number in range(1100)})
        assert problem["code"] == "invalid"

    def test_a_parameter_comes_once(self, program: Program) -> None:
        problem = program.get("/requests", 422, limit=[1, 2])
        assert (fields_at_fault(problem), problem["detail"]) == (["limit"], "limit is given more than once.")

    @pytest.mark.parametrize("path", ["/requests", "/nothing", "/openapi.json"])
    def test_a_host_that_is_none_of_the_installation_s_is_a_problem(self, stack: Any, path: str) -> None:
        response = Client(headers={"host": "elsewhere.example"}).get(ROOT + path)
        assert (response.status_code, response.json()["code"]) == (422, "invalid")
        assert response.headers["Content-Type"] == "application/problem+json"

    def test_answers_are_not_kept_by_caches(self, program: Program) -> None:
        program.get("/requests")
        assert program.last.headers["Cache-Control"] == "no-store"
        program.get("/requests/x", 404)
        assert program.last.headers["Cache-Control"] == "no-store"


class TestMistakes:
    @pytest.mark.parametrize("error", [OperationalError("gone"), InterfaceError("closed")])
    def test_a_lost_database_is_unavailable(self, program: Program, error: Exception) -> None:
        with mock.patch.object(queries, "list_requests", side_effect=error):
            problem = program.get("/requests", 503)
        assert problem["code"] == "unavailable"
        assert int(program.last.headers["Retry-After"]) > 0

    def test_it_is_also_where_the_token_is_looked_up(self, program: Program) -> None:
        with mock.patch.object(tokens, "bearer", side_effect=OperationalError("gone")):
            assert program.get("/requests", 503)["code"] == "unavailable"

    @pytest.mark.parametrize("error", [Busy("Too many."), Unavailable("Away.")])
    def test_a_busy_writer_says_when_to_try_again(self, program: Program, error: Exception) -> None:
        with mock.patch.object(deciding, "decide", side_effect=error):
            program.post("/requests/x/decision", {"decision": "approve"}, 503)
        assert int(program.last.headers["Retry-After"]) > 0

    @pytest.mark.parametrize("error", [RuntimeError("secret"), DataError("secret"), KeyError("secret")])
    def test_a_mistake_of_ours_is_logged_and_not_told(
        self, program: Program, error: Exception, caplog: pytest.LogCaptureFixture
    ) -> None:
        with mock.patch.object(queries, "list_requests", side_effect=error):
            problem = program.get("/requests", 500)
        assert problem["code"] == "internal"
        assert "secret" not in json.dumps(problem)
        assert "secret" in caplog.text


class TestProblems:
    def test_every_problem_has_the_members_of_rfc_9457(self, program: Program) -> None:
        for problem in (program.get("/requests/x", 404), program.ask(status=422, bogus=1)):
            assert problem.keys() >= MEMBERS
            assert problem["title"] == HTTPStatus(problem["status"]).phrase

    def test_every_reason_to_refuse_has_a_status_and_a_meaning(self) -> None:
        assert REFUSALS.keys() <= STATUSES.keys()


def test_a_person_may_be_called_anything(program: Program) -> None:
    """Names come back as they are, in JSON."""
    User.objects.create_user("ann@example.org")
    request = program.ask("<b>Größe</b> \U0001f600", assignees={"users": ["ann@example.org"]})
    assert request["title"] == "<b>Größe</b> \U0001f600"
