"""Frames are read strictly, whatever a client sends, and what a server says is encoded as declared."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from approvals.domain.lifecycle import Outcome
from approvals.exceptions import AlreadyDecided, NotPermitted
from approvals.web.api.schemas import DecisionBody
from approvals.web.api.validation import field_error
from approvals.web.live.protocol import (
    FRAME_LIMIT,
    Answer,
    Decide,
    Hello,
    Json,
    Look,
    Malformed,
    Ping,
    Pong,
    Snapshot,
    encode,
    read,
    refusal,
)
from tests.effort import effort


def frame(kind: Any = "decide", ref: Any = "7", **data: Any) -> str:
    return json.dumps({"type": kind, "ref": ref, "data": data})


def refused(text: str | None) -> Malformed:
    with pytest.raises(Malformed) as caught:
        read(text)
    assert caught.value.code == "invalid"
    return caught.value


def test_a_decision_with_all_its_fields() -> None:
    text = frame(request_id="1", decision="approve", comment="Fine", arguments={"amount": "2"})
    decision = Decide(request_id="1", decision="approve", comment="Fine", arguments={"amount": "2"})
    assert read(text) == ("7", decision)


def test_comment_and_arguments_may_be_left_out() -> None:
    assert read(frame(request_id="1", decision="reject"))[1] == Decide(request_id="1", decision="reject")


@pytest.mark.parametrize("answer", ["", "text", None, 0, False, ["a"], {"a": 1}])
def test_an_answer_is_any_json(answer: Any) -> None:
    assert read(frame("answer", request_id="1", answer=answer))[1] == Answer(request_id="1", answer=answer)


def test_a_ping_needs_no_data() -> None:
    assert read('{"type": "ping"}') == (None, Ping())


@pytest.mark.parametrize("request_id", ["1", "", None])
def test_a_page_is_named_by_any_text_or_none(request_id: str | None) -> None:
    assert read(frame("look", request_id=request_id))[1] == Look(request_id=request_id)


@pytest.mark.parametrize("ref", [None, 0, -5, 2**53 - 1, "", "x" * 200])
def test_the_ref_is_the_clients_own(ref: Any) -> None:
    assert read(frame("ping", ref))[0] == ref


@pytest.mark.parametrize("ref", [True, 1.5, 2**53, "x" * 201, [], {}])
def test_a_ref_of_another_type_is_refused_and_not_returned(ref: Any) -> None:
    error = refused(frame("ping", ref))
    assert (error.field, error.ref) == ("ref", None)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (frame("delete"), "type"),
        (frame(None), "type"),
        (frame(["decide"]), "type"),
        (json.dumps({"ref": "7", "data": {}}), "type"),
        (json.dumps({"type": "ping", "ref": "7", "data": []}), "data"),
        (json.dumps({"type": "ping", "ref": "7", "user": 1}), "user"),
        (frame("ping", request_id="1"), "request_id"),
        (frame(decision="approve"), "request_id"),
        (frame(request_id=5, decision="approve"), "request_id"),
        (frame(request_id="1"), "decision"),
        (frame(request_id="1", decision=True), "decision"),
        (frame(request_id="1", decision="approve", comment=[]), "comment"),
        (frame(request_id="1", decision="approve", arguments=[1]), "arguments"),
        (frame(request_id="1", decision="approve", user_id=1), "user_id"),
        (frame("look"), "request_id"),
        (frame("look", request_id=5), "request_id"),
        (frame("answer", request_id="1"), "answer"),
        (frame("answer", request_id="1", answer="a", decision="approve"), "decision"),
        (frame(request_id="1", decision="maybe"), "decision"),
        (frame(request_id="1", decision="approve", comment="x" * 10_001), "comment"),
        (frame(request_id="1", decision="approve", comment="\ud800"), "comment"),
        (frame("answer", request_id="1", answer="a", comment="x" * 10_001), "comment"),
    ],
)
def test_what_does_not_fit_is_refused_beginning_with_the_field(text: str, field: str) -> None:
    error = refused(text)
    assert (error.field, error.ref, error.detail.split(" ")[0]) == (field, "7", field)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"decision": "maybe"},
        {"decision": None},
        {"decision": "approve", "comment": "x" * 10_001},
        {"decision": "approve", "comment": 1},
        {"decision": "approve", "arguments": "amount"},
        {"decision": "approve", "verdict": "approve"},
    ],
)
def test_a_socket_refuses_in_the_words_of_the_api(data: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        DecisionBody.model_validate(data)
    (fault,) = caught.value.errors()
    field, detail = field_error({**fault, "loc": ("body", "body", *fault["loc"])})
    error = refused(frame(request_id="1", **data))
    assert (error.field, error.detail) == (field, detail)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "null",
        "[]",
        '"ping"',
        '{"type": NaN}',
        '{"type": "ping", "ref": Infinity}',
        '{"type": "ping", "ref": ' + "9" * 5000 + "}",
        "[" * 100_000,
        '{"a":' * 100_000,
    ],
)
def test_what_is_no_frame_is_refused(text: str | None) -> None:
    assert refused(text).ref is None


def test_a_frame_over_the_limit_is_refused_unread() -> None:
    assert "at most" in refused(" " * FRAME_LIMIT + "{}").detail


@effort()
@given(st.text())
def test_no_text_does_more_than_be_refused(text: str) -> None:
    with pytest.raises(Malformed):
        read(text)


nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@effort()
@given(st.sampled_from(["decide", "answer", "look", "ping", "pong", ""]) | nested, nested, nested)
def test_no_json_does_more_than_be_refused(kind: Any, ref: Any, data: Any) -> None:
    try:
        _, message = read(json.dumps({"type": kind, "ref": ref, "data": data}))
    except Malformed as error:
        json.loads(encode(refusal(error), error.ref))
    else:
        assert isinstance(message, Decide | Answer | Ping)


def test_the_answer_carries_the_ref() -> None:
    assert json.loads(encode(Pong(), "a\ud800\n")) == {"type": "pong", "ref": "a\ud800\n", "data": {}}


def test_what_is_encoded_already_is_put_in_as_it_is() -> None:
    requests = Json.array([Json.of({"id": "1"}), Json.of({"id": "2"})])
    frame = encode(Snapshot(requests=requests, more=False))
    assert json.loads(frame)["data"] == {"requests": [{"id": "1"}, {"id": "2"}], "more": False}


def test_hello_says_who_which_protocol_and_when() -> None:
    data = json.loads(encode(Hello(user="ada", server_time="2026-11-22T10:00:00Z")))["data"]
    assert data == {"user": "ada", "protocol": 1, "server_time": "2026-11-22T10:00:00Z"}


def test_a_refusal_has_code_detail_and_field() -> None:
    data = json.loads(encode(refusal(NotPermitted("No.", field="request_id"))))["data"]
    assert data == {"code": "not_permitted", "detail": "No.", "field": "request_id"}


def test_a_lost_race_also_says_what_is_on_record() -> None:
    outcome = Outcome(request_id="1", kind="approval", status="approved")
    data = json.loads(encode(refusal(AlreadyDecided("Ada was first.", outcome=outcome))))["data"]
    assert (data["outcome"]["request_id"], data["outcome"]["status"]) == ("1", "approved")
