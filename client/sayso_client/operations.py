"""What the client does, once for both clients: each operation is a call of exchange.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import httpx

from sayso_client.answers import Asked, Outcome
from sayso_client.errors import StillPending, UnknownRequest
from sayso_client.exchange import SLACK, Call, Send, exchange
from sayso_client.questions import body_of
from sayso_client.values import like

T = TypeVar("T")

# Seconds that the server is asked to hold an answer back: less than what proxies commonly allow.
HELD = 50.0
MOST_IDS = 1000


class Operations:
    """The calls of a client that gives up on a server that is away after so many seconds; None: never."""

    def __init__(self, give_up_after: float | None) -> None:
        self._give_up_after = give_up_after

    def open(self, kind: str, title: str, key: str, terms: Mapping[str, Any]) -> Call[Asked]:
        """Ask, or find what was asked under this key."""
        reply = yield from self._send("POST", "/requests", json=body_of(kind, title, key, terms))
        return Asked.of(reply.json())

    def ask_and_wait(
        self,
        kind: str,
        title: str,
        key: str,
        terms: Mapping[str, Any],
        *,
        patience: float | None,
        on_wait: Callable[[Asked], object] | None,
    ) -> Call[Outcome]:
        """Ask and wait. `on_wait` is called once, when the request is open and nobody has decided yet."""
        asked = yield from self.open(kind, title, key, terms)
        if on_wait is not None and asked.status == "pending":
            on_wait(asked)
        return (yield from self.wait_for(asked, terms.get("arguments"), patience))

    def wait_for(self, asked: Asked, sent: Any, patience: float | None) -> Call[Outcome]:
        """Wait for what was asked with these arguments; the outcome's are of the same types."""
        outcome = yield from self.wait(asked.id, patience, asked)
        return restored(outcome, sent, asked.raw)

    def wait(
        self, request_id: str, patience: float | None = None, asked: Asked | None = None
    ) -> Call[Outcome]:
        """Wait until it is closed, through restarts of the server; StillPending after `patience` seconds."""
        ends = None if patience is None else time.monotonic() + patience
        path = f"/requests/{request_id}/outcome"
        while True:
            held = HELD if ends is None else min(HELD, max(0.0, ends - time.monotonic()))
            reply = yield from self._send("GET", path, params={"wait": f"{held:.3f}"}, seconds=held)
            if reply.status_code == httpx.codes.OK:
                return Outcome.of(reply.json())
            if ends is not None and time.monotonic() >= ends:
                raise StillPending(request_id, asked)

    def wait_all(self, ids: Iterable[str]) -> Call[list[Outcome]]:
        """Wait until all are closed; their outcomes, in order."""
        named = [request_id.lower() for request_id in ids]
        left, told = dict.fromkeys(named), dict[str, Outcome]()
        while left:
            some = list(left)[:MOST_IDS]
            body = {"ids": some, "wait": HELD}
            reply = yield from self._send("POST", "/outcomes", json=body, seconds=HELD)
            found = reply.json()
            if found["unknown"]:
                text = f"There is no request {found['unknown'][0]!r}, or you may not see it."
                raise UnknownRequest(404, {"code": "unknown_request", "detail": text})
            for outcome in map(Outcome.of, found["outcomes"]):
                told[outcome.request_id] = outcome
                left.pop(outcome.request_id)
        return [told[request_id] for request_id in named]

    def get(self, request_id: str) -> Call[Asked]:
        """Read it as it is now."""
        reply = yield from self._send("GET", f"/requests/{request_id}")
        return Asked.of(reply.json())

    def act(self, request_id: str, deed: str, body: Mapping[str, Any]) -> Call[Outcome]:
        """Decide, answer, withdraw or reassign."""
        reply = yield from self._send("POST", f"/requests/{request_id}/{deed}", json=dict(body))
        return Outcome.of(reply.json())

    def withdraw_all(self, origin: Mapping[str, str], reason: str) -> Call[int]:
        """Take back what is pending of this origin; how many were taken back."""
        taken_back = 0
        while True:
            body = {"origin": dict(origin), "reason": reason}
            answer = (yield from self._send("POST", "/requests/withdraw", json=body)).json()
            taken_back += sum("outcome" in result for result in answer["results"])
            if not answer["more"]:
                return taken_back

    def page(self, filters: Mapping[str, str], cursor: str | None) -> Call[tuple[list[Asked], str | None]]:
        """One page of a list, and the cursor of the next."""
        params = {**filters, **({} if cursor is None else {"cursor": cursor})}
        answer = (yield from self._send("GET", "/requests", params=params)).json()
        return [Asked.of(told) for told in answer["requests"]], answer["next"]

    def _send(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        seconds: float = 0,
    ) -> Call[httpx.Response]:
        send = Send(method=method, path=path, json=json, params=params or {}, seconds=seconds)
        return (yield from exchange(send, self._give_up_after))


def restored(outcome: Outcome, sent: Any, asked: Mapping[str, Any]) -> Outcome:
    """Return the outcome with its arguments of the types that were sent; whether they were edited."""
    if sent is None or outcome.arguments is None:
        return outcome
    edited = bool(outcome.approved) and outcome.arguments != asked.get("arguments")
    return replace(outcome, arguments=like(sent, outcome.arguments, "arguments"), edited=edited)


def timeout_of(send: Send) -> httpx.Timeout:
    """Return for how long to wait for the answer."""
    return httpx.Timeout(SLACK, read=send.seconds + SLACK, connect=10.0)
