"""A client without a server, for the tests of programs that ask: people decide by a function."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

import httpx

from sayso_client.answers import Asked
from sayso_client.clients import AsyncSayso, Sayso

# Of an approval: "approve", "reject", ("reject", "why"), {"decision": …, "comment": …, "arguments": …},
# {"decision": "respond", "answer": …}; of a question: the answer; None: nobody decides, so that the deadline
# passes.
Verdict: TypeAlias = Any
Decide: TypeAlias = Callable[[Asked], Verdict]

_BY = "tester"
# What is the same question, under a key.
_QUESTION = (
    *("kind", "title", "arguments", "choices", "multiple", "schema", "default", "editable", "required"),
    *("decisions", "reason_required", "group"),
)


def approve(request: Asked) -> Verdict:
    """Approve everything, and answer questions with their first choice, or their default."""
    if request.kind == "approval":
        return "approve"
    choices = request.raw.get("choices")
    return next(iter(choices)) if choices else request.raw.get("default", "yes")


@dataclass
class FakeServer:
    """Answers as a server of Sayso does, in memory. `asked` is what was asked, in order.

    Its people's decisions are taken as they are: it checks neither answers nor `reason_required`.
    """

    decide: Decide = approve
    asked: list[dict[str, Any]] = field(default_factory=list)

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer one call; a transport of httpx."""
        path = request.url.path.partition("/api/v1")[2]
        body = json.loads(request.content) if request.content else {}
        match request.method, path.strip("/").split("/"):
            case "POST", ["requests"]:
                return self._ask(body)
            case "GET", ["requests"]:
                return _answer({"requests": [*reversed(self.asked)], "next": None})
            case "POST", ["requests", "withdraw"]:
                return self._withdraw_all(body)
            case "POST", ["outcomes"]:
                told = [self._find(each) for each in body["ids"]]
                outcomes = [one["outcome"] for one in told if one]
                unknown = [each for each, one in zip(body["ids"], told, strict=True) if one is None]
                return _answer({"outcomes": outcomes, "left": [], "unknown": unknown})
            case method, ["requests", request_id, *deed]:
                return self._about(method, request_id, deed, body)
        return _problem(404, "not_found", f"The fake server has no {request.method} {path}.")

    def _ask(self, body: Mapping[str, Any]) -> httpx.Response:
        for one in self.asked:
            if body.get("key") and one["key"] == body["key"]:
                differs = [name for name in _QUESTION if body.get(name) != one["body"].get(name)]
                if differs:
                    text = f"The key {body['key']!r} was used for another question."
                    about = {"id": one["id"], "differs": differs, "outcome": one["outcome"]}
                    return _problem(409, "key_conflict", text, **about)
                return _answer(one)
        request_id = str(uuid.uuid4())
        one = {
            "details": "",
            "arguments": {},
            "required": 1,
            **body,
            "id": request_id,
            "key": body.get("key", ""),
            "status": "pending",
            "url": f"http://fake/requests/{request_id}/",
            "body": dict(body),
        }
        one["outcome"] = _outcome(one, self.decide(Asked.of(one)))
        self.asked.append(one)
        return _answer(one, 201)

    def _about(
        self, method: str, request_id: str, deed: list[str], body: Mapping[str, Any]
    ) -> httpx.Response:
        one = self._find(request_id)
        if one is None:
            return _problem(404, "unknown_request", f"There is no request {request_id!r}.")
        match method, deed:
            case "GET", []:
                return _answer(one)
            case "GET", ["outcome"]:
                return _answer(one["outcome"], 202 if one["outcome"]["status"] == "pending" else 200)
            case "POST", [("decision" | "answer" | "withdraw" | "reassign") as name]:
                return self._close(one, _came_of(name, one, body))
        return _problem(404, "not_found", f"The fake server does not know {deed}.")

    def _withdraw_all(self, body: Mapping[str, Any]) -> httpx.Response:
        results = []
        for one in self.asked:
            if one["outcome"]["status"] == "pending" and one["body"].get("origin") == body["origin"]:
                one["outcome"] = _ended(one, "withdrawn", comment=body.get("reason", ""))
                results.append({"request_id": one["id"], "outcome": one["outcome"]})
        return _answer({"results": results, "more": False})

    def _close(self, one: dict[str, Any], outcome: dict[str, Any]) -> httpx.Response:
        if one["outcome"]["status"] != "pending" and one["outcome"]["status"] != outcome["status"]:
            return _problem(409, "already_decided", "It is decided.", outcome=one["outcome"])
        one["outcome"], one["status"] = outcome, outcome["status"]
        return _answer(outcome)

    def _find(self, request_id: str) -> dict[str, Any] | None:
        return next((one for one in self.asked if one["id"] == request_id), None)


class FakeSayso(Sayso):
    """A `Sayso` whose people are `decide(request)`; `asked` is what it was asked."""

    def __init__(self, decide: Decide = approve) -> None:
        self.server = FakeServer(decide)
        http = httpx.Client(transport=httpx.MockTransport(self.server.handle))
        super().__init__("http://fake", "fake", http=http)

    @property
    def asked(self) -> list[dict[str, Any]]:
        """Return what was asked, in order."""
        return self.server.asked


class AsyncFakeSayso(AsyncSayso):
    """An `AsyncSayso` whose people are `decide(request)`; `asked` is what it was asked."""

    def __init__(self, decide: Decide = approve) -> None:
        self.server = FakeServer(decide)
        http = httpx.AsyncClient(transport=httpx.MockTransport(self.server.handle))
        super().__init__("http://fake", "fake", http=http)

    @property
    def asked(self) -> list[dict[str, Any]]:
        """Return what was asked, in order."""
        return self.server.asked


def _outcome(one: Mapping[str, Any], verdict: Verdict, *, comment: str = "") -> dict[str, Any]:
    if verdict is None:
        return _timed_out(one)
    if one["kind"] == "clarification":
        return _ended(one, "answered", answer=verdict, comment=comment, decided_by=_BY)
    if isinstance(verdict, tuple):
        verdict = {"decision": verdict[0], "comment": verdict[1]}
    if isinstance(verdict, str):
        verdict = {"decision": verdict}
    if verdict["decision"] == "respond":
        said = {"answer": verdict["answer"], "comment": verdict.get("comment", "")}
        return _ended(one, "answered", decided_by=_BY, **said)
    yes = {"approve": True, "reject": False}[verdict["decision"]]
    arguments = verdict.get("arguments") or one["arguments"]
    return _ended(
        one,
        "approved" if yes else "rejected",
        approved=yes,
        arguments=arguments,
        comment=verdict.get("comment", ""),
        decided_by=_BY,
    )


def _came_of(deed: str, one: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    if deed == "decision":
        return _outcome(one, dict(body))
    if deed == "answer":
        return _outcome(one, body["answer"], comment=body.get("comment", ""))
    if deed == "withdraw":
        return _ended(one, "withdrawn", comment=body.get("reason", ""))
    told: dict[str, Any] = one["outcome"]
    return told


def _timed_out(one: Mapping[str, Any]) -> dict[str, Any]:
    approved = one.get("on_timeout") == "approve" if one["kind"] == "approval" else None
    return _ended(one, "timed_out", approved=approved, answer=one.get("default"), timed_out=True)


def _ended(one: Mapping[str, Any], status: str, **told: Any) -> dict[str, Any]:
    return {
        "request_id": one["id"],
        "kind": one["kind"],
        "status": status,
        "approved": False if one["kind"] == "approval" else None,
        "answer": None,
        "arguments": one["arguments"],
        "comment": "",
        "decided_by": None,
        "decided_at": datetime.now(UTC).isoformat(),
        "timed_out": False,
        "withdrawn": status == "withdrawn",
        "url": one["url"],
        **told,
    }


def _answer(value: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=value)


def _problem(status: int, code: str, detail: str, **more: Any) -> httpx.Response:
    return httpx.Response(status, json={"status": status, "code": code, "detail": detail, **more})
