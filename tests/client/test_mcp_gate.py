"""What the gate does with the lines of a client, whatever they say: no server of either kind."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sayso_client import Sayso
from sayso_client.mcp_gate import Gate
from sayso_client.mcp_policy import Policy, Rule
from sayso_client.mcp_stdio import Pipe, line_of, lines
from sayso_client.testing import FakeSayso

POLICY = Policy(rules=[Rule(tool="ask*", title="{title}", editable=True)], default=None)


def call(
    name: object = "ask", arguments: object = None, number: object = 1, **meta: object
) -> dict[str, Any]:
    params = {"name": name, "arguments": arguments or {}, **({"_meta": meta} if meta else {})}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


@dataclass
class Between:
    """The gate between a client and a server that are read line by line."""

    gate: Gate
    server: Iterator[bytes]
    client: Iterator[bytes]
    ends: tuple[Pipe, Pipe]

    def passes(self, message: object, as_is: bytes | None = None) -> bool:
        """Whether it goes on to the server as it is, with nothing before it."""
        line = as_is or line_of(message)
        self.gate.take(line)
        return next(self.server) == line

    def refusal(self) -> str:
        answer = json.loads(next(self.client))
        assert answer["result"]["isError"]
        return str(answer["result"]["content"][0]["text"])

    def close(self) -> None:
        for pipe in self.ends:
            pipe.close()
        assert [*self.server, *self.client] == []


def between(sayso: Sayso, *, run: str | None = None, patience: float = 0) -> Between:
    (server, to_server), (client, to_client) = _pipe(), _pipe()
    gate = Gate(POLICY, sayso, run=run, patience=patience, server=to_server, client=to_client)
    return Between(gate, server, client, (to_server, to_client))


def _pipe() -> tuple[Iterator[bytes], Pipe]:
    read, write = os.pipe()

    def read_lines() -> Iterator[bytes]:
        with os.fdopen(read, "rb", 0) as stream:
            yield from lines(stream)

    return read_lines(), Pipe(os.fdopen(write, "wb", 0))


@pytest.fixture
def approving() -> Iterator[Between]:
    made = between(FakeSayso())
    yield made
    made.close()


OTHERS = [
    {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
    {"jsonrpc": "2.0", "id": 1, "result": {"method": "tools/call", "params": {"name": "ask"}}},
    call("other"),
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}},
    [call("other"), {"jsonrpc": "2.0", "id": 2, "method": "ping"}],
]


@pytest.mark.parametrize("message", OTHERS)
def test_what_the_policy_does_not_name_passes_as_it_is(approving: Between, message: object) -> None:
    spaced = json.dumps(message, indent=None, separators=(" , ", " :  ")).encode() + b" \r\n"
    assert approving.passes(message, spaced)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda each: st.lists(each) | st.dictionaries(st.text(), each),
        max_leaves=5,
    )
)
def test_any_other_message_passes_as_it_is(message: object) -> None:
    made = between(FakeSayso())
    assert made.passes(message)
    made.close()


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"\xff{}",
        line_of(call()).decode().encode("utf-16"),
        b"\xef\xbb\xbf" + line_of(call()),
        b'{"method": "other", "method": "tools/call", "params": {"name": "ask"}}',
        b'{"method": "tools/call", "params": {"name": "other", "arguments": {"to": 1, "to": 2}}}',
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_what_can_not_be_read_or_in_two_ways_goes_nowhere(approving: Between, line: bytes) -> None:
    approving.gate.take(line.strip(b"\n") + b"\n")
    assert json.loads(next(approving.client))["error"]["code"] == -32700
    approving.gate.take(b"\n")
    assert approving.passes({"id": 2, "method": "ping"})


def test_a_call_passes_once_it_is_approved_as_it_is_or_as_it_was_edited() -> None:
    edits: dict[str, Any] = {"changed": {"decision": "approve", "arguments": {"n": "1"}}}
    sayso = FakeSayso(lambda request: edits.get(request.title, "approve"))
    made = between(sayso)
    assert made.passes(call("ask", {"title": "as is", "n": 2**60}))
    made.gate.take(line_of([call("ask", {"title": "in a batch"})]))
    assert json.loads(next(made.server)) == call("ask", {"title": "in a batch"})
    made.gate.take(line_of(call("ask", {"title": "changed", "n": 2**60}, x="kept")))
    assert json.loads(next(made.server)) == call("ask", {"n": 1}, x="kept")
    without_id = {name: value for name, value in call("ask").items() if name != "id"}
    assert made.passes(without_id)
    assert sayso.asked[0]["arguments"] == {"title": "as is", "n": str(2**60)}
    made.close()


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        ({"title": "no"}, "Rejected by tester: not before Friday"),
        ({"title": "late"}, "Nobody decided in time."),
        ({"n": float("nan")}, "Nobody could be asked: arguments.n is not a finite number."),
        ({"n": "\ud800"}, "Nobody could be asked: the call can't be shown to people."),
    ],
)
def test_a_call_that_is_not_approved_is_answered_with_the_reason(
    arguments: dict[str, Any], refusal: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answers: dict[str, Any] = {"no": ("reject", "not before Friday"), "late": None}
    made = between(FakeSayso(lambda request: answers[request.title]))
    made.gate.take(line_of(call("ask", arguments)))
    assert made.refusal() == refusal
    made.close()


def test_a_call_does_not_pass_while_sayso_is_away() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    http = httpx.Client(transport=httpx.MockTransport(refuse))
    made = between(Sayso("http://sayso.test", "t", http=http, give_up_after=0))
    made.gate.take(line_of(call()))
    assert made.refusal() == "Nobody could be asked: The server can't be reached: refused"
    made.close()


def test_each_call_is_a_question_of_its_own_even_under_one_id() -> None:
    """Except where the run and the call are named: that may have been asked before a restart."""
    sayso = FakeSayso()
    made = between(sayso)
    for _ in range(2):
        assert made.passes(call())
    assert len({one["key"] for one in sayso.asked}) == 2

    named = call(**{"claudecode/toolUseId": "toolu_1"})
    keys = []
    for _ in range(2):
        again = between(sayso, run="run-1")
        assert again.passes(named)
        assert again.passes(named)  # a model may repeat its ids: that is another call
        again.close()
        keys += [one["key"] for one in sayso.asked]
    assert keys.count("run-1:toolu_1") == 2  # listed twice, asked once
    assert len(sayso.asked) == 5
    made.close()
