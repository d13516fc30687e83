"""The API's description: valid OpenAPI 3.1, and true: what is answered fits what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from django.test import Client
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from approvals import deciding
from approvals.web.edge.problems import STATUSES
from tests import factories as make
from tests.approvals.web.api.program import Program

SAFE = {"get"}


@pytest.fixture
def description() -> Any:
    response = Client().get("/api/v1/openapi.json")
    assert response.status_code == 200
    return response.json()


def operations(description: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield path.removeprefix("/api/v1"), method, operation


def fits(description: Any, schema: Any, value: Any) -> None:
    """The value fits this schema of the description."""
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    jsonschema_rs.validate(whole | {"components": description["components"]}, value)


def test_it_is_openapi_3_1(description: Any) -> None:
    assert description["openapi"].startswith("3.1")
    OPENAPI_31_VALIDATOR.validate(description)


def test_every_path_of_the_interface_is_there(description: Any) -> None:
    assert {f"{method} {path}" for path, method, _ in operations(description)} == {
        "post /requests",
        "get /requests",
        "get /requests/{request_id}",
        "get /requests/{request_id}/outcome",
        "get /requests/{request_id}/history",
        "post /requests/{request_id}/decision",
        "post /requests/{request_id}/answer",
        "post /requests/{request_id}/withdraw",
        "post /requests/{request_id}/reassign",
        "post /requests/{request_id}/comments",
        "get /requests/{request_id}/comments",
        "post /requests/withdraw",
        "post /decisions",
        "post /outcomes",
        "get /delegations",
        "post /delegations",
        "post /delegations/{delegation_id}/end",
        "post /runs",
        "get /runs",
        "get /runs/{run_id}",
        "post /runs/{run_id}/cancel",
        "get /runs/{run_id}/resume",
        "post /runs/{run_id}/resume",
    }


def test_every_operation_says_what_it_does_and_how_it_refuses(description: Any) -> None:
    seen: set[str] = set()
    for _, _, operation in operations(description):
        assert operation["operationId"].isidentifier()
        assert operation["operationId"] not in seen
        seen.add(operation["operationId"])
        assert operation["summary"]
        assert operation["description"]
        assert {"401", "403", "422", "500", "503"} <= operation["responses"].keys()


def test_every_refusal_is_a_problem_with_an_example_for_each_code(description: Any) -> None:
    for _, _, operation in operations(description):
        for status, response in operation["responses"].items():
            if int(status) < 400:
                continue
            (content,) = response["content"].items()
            assert content[0] == "application/problem+json"
            for code, example in content[1]["examples"].items():
                assert STATUSES[code] == int(status)
                fits(description, content[1]["schema"], example["value"])


def test_every_body_has_examples_that_fit(description: Any) -> None:
    for _, _, operation in operations(description):
        if "requestBody" not in operation:
            continue
        content = operation["requestBody"]["content"]["application/json"]
        examples = [example["value"] for example in content.get("examples", {}).values()]
        (reference,) = content["schema"].get("allOf", [content["schema"]])
        name = reference.get("$ref", "").rpartition("/")[2]
        examples += description["components"]["schemas"].get(name, {}).get("examples", [])
        assert examples, operation["operationId"]
        for example in examples:
            fits(description, content["schema"], example)


def test_a_session_needs_its_csrf_token_where_it_changes_something(description: Any) -> None:
    for _, method, operation in operations(description):
        session: dict[str, list[str]] = {"SessionCookie": []}
        if method not in SAFE:
            session["CsrfToken"] = []
        assert operation["security"] == [{"BearerToken": []}, session]
    assert description["components"]["securitySchemes"].keys() == {
        "BearerToken",
        "SessionCookie",
        "CsrfToken",
    }


@pytest.mark.django_db
@pytest.mark.one_stack
def test_what_is_answered_fits_the_description(description: Any) -> None:
    rita = make.reviewer("rita")
    program = Program.of(rita)
    approval = program.ask(editable={"type": "object"}, origin={"kind": "job"}, timeout=None)
    question = program.ask(kind="clarification", schema={"type": "object"})
    deciding.decide(make.actor(rita), approval["id"], "approve", arguments={"a": 1})
    one = f"/requests/{approval['id']}"
    items = [{"request_id": each, "decision": "approve"} for each in (approval["id"], "x", question["id"])]
    answers = {
        "get_request": program.get(one),
        "list_requests": program.get("/requests", limit=1),
        "get_outcome": program.get(f"{one}/outcome"),
        "get_history": program.get(f"{one}/history"),
        "decide_many": program.post("/decisions", {"decisions": items}),
        "answer": program.post(f"/requests/{question['id']}/answer", {"answer": {}}),
    }
    by_id = {operation["operationId"]: operation for _, _, operation in operations(description)}
    for operation_id, answer in answers.items():
        content = by_id[operation_id]["responses"]["200"]["content"]["application/json"]
        fits(description, content["schema"], answer)
        if operation_id == "get_request":  # all that is said is described
            described = description["components"]["schemas"]["RequestOnTheWire"]["properties"]
            assert described.keys() == answer.keys()
