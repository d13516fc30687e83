"""Programs outside of Sayso that ask, wait, decide and start runs over HTTP, and note what they are told.

A `Person` knows several servers and is as patient as a good client: where one does not answer, it goes on to
the next. Only `decide` tries once, because whether it was acknowledged is what is tested.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import httpx

from tests.faults.ledger import Ledger

# Seconds between attempts of a client whose server does not answer.
PAUSE = 0.1
# Seconds after which a server is taken for frozen; where it is asked to hold its answer, and else.
HOLD = 60
HELD = HOLD + 10.0
PROMPT = 20.0
# What a server says that can't do it now; the same question may be asked again.
NOT_NOW = {429, 500, 502, 503, 504}


class Unanswered(Exception):
    """The connection broke, or the server could not say."""


class Person:
    """One user with a token. `at` names the server to begin with, by its place in `urls`."""

    def __init__(self, name: str, token: str, ledger: Ledger, urls: list[str]) -> None:
        self.name = name
        self.ledger = ledger
        self.urls = urls
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=50),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    # Asking and waiting

    async def ask(self, title: str, *, at: int = 0, **terms: Any) -> str:
        """Ask until it is acknowledged; the id. By a key, so that asking again does not ask twice."""
        question = {"kind": "approval", "title": title, "key": str(uuid.uuid4()), **terms}
        answer = await self._insist("POST", "/requests", question, at=at)
        request_id = str(answer.raise_for_status().json()["id"])
        self.ledger.asked(self.name, request_id)
        return request_id

    async def ask_many(self, title: str, number: int, *, at: int = 0, **terms: Any) -> list[str]:
        """Ask so many at once."""
        asking = (self.ask(f"{title} {each}", at=at, **terms) for each in range(number))
        return await asyncio.gather(*asking)

    async def wait(self, request_id: str, *, at: int = 0) -> dict[str, Any]:
        """Wait until it is closed, whatever becomes of servers; what this wait was told."""
        while True:
            path = f"/requests/{request_id}/outcome?wait={HOLD}"
            answer = await self._insist("GET", path, at=at, within=HELD)
            outcome: dict[str, Any] = answer.raise_for_status().json()
            if answer.status_code == httpx.codes.OK:
                self.ledger.waited(self.name, request_id, outcome)
                return outcome

    # Deciding

    async def decide(
        self, request_id: str, decision: str = "approve", *, at: int = 0, within: float = PROMPT
    ) -> httpx.Response:
        """Decide, once. Raises Unanswered where nobody says `within` so many seconds what came of it."""
        try:
            path = f"/requests/{request_id}/decision"
            answer = await self._call(self.urls[at], "POST", path, {"decision": decision}, within=within)
        except Unanswered:
            self.ledger.unanswered(self.name, request_id, decision)
            raise
        told = answer.json()
        if answer.is_success:
            self.ledger.decided(self.name, request_id, decision, told)
        else:
            self.ledger.refused(self.name, request_id, told["code"], told.get("outcome"))
        return answer

    async def insist(self, request_id: str, decision: str = "approve", *, at: int = 0) -> httpx.Response:
        """Decide again and again, at one server after the other, until somebody says what came of it."""
        for turn in itertools.count(at):
            with suppress(Unanswered):
                return await self.decide(request_id, decision, at=turn % len(self.urls))
            await pause()
        raise AssertionError

    async def answer(self, request_id: str, answer: Any, *, at: int = 0) -> httpx.Response:
        """Answer until somebody says what came of it; that is accepted."""
        told = await self._insist("POST", f"/requests/{request_id}/answer", {"answer": answer}, at=at)
        self.ledger.decided(self.name, request_id, answer, told.raise_for_status().json())
        return told

    # Runs

    async def start(self, orchestration: str, *, at: int = 0, **given: Any) -> str:
        body = {"orchestration": orchestration, "input": given, "key": str(uuid.uuid4())}
        answer = await self._insist("POST", "/runs", body, at=at)
        run_id = str(answer.raise_for_status().json()["id"])
        self.ledger.started(self.name, run_id)
        return run_id

    async def newest_run(self) -> str:
        """The id of the run that was started last, by whatever means."""
        while not (runs := (await self._insist("GET", "/runs", at=0)).raise_for_status().json()["runs"]):
            await pause()
        return str(runs[0]["id"])

    async def question_of(self, run_id: str, *, beyond: str = "", at: int = 0) -> str:
        """The request that the run waits for, as soon as it waits for another than `beyond`."""
        while True:
            run = await self.look(run_id, at=at)
            asked = [each for each in run["waiting_for"] if each != beyond]
            if asked:
                self.ledger.asked(run_id, asked[0])
                return str(asked[0])
            assert not run["finished_at"], run
            await pause()

    async def end_of(self, run_id: str, *, at: int = 0) -> dict[str, Any]:
        """The run, as soon as it has ended."""
        while not (run := await self.look(run_id, at=at))["finished_at"]:
            await pause()
        self.ledger.ended(self.name, run_id, run["status"])
        return run

    async def look(self, run_id: str, *, at: int = 0) -> dict[str, Any]:
        answer = await self._insist("GET", f"/runs/{run_id}", at=at)
        run: dict[str, Any] = answer.raise_for_status().json()
        return run

    # HTTP

    async def _insist(
        self, method: str, path: str, body: Any = None, *, at: int, within: float = PROMPT
    ) -> httpx.Response:
        for turn in itertools.count(at):
            with suppress(Unanswered):
                return await self._call(self.urls[turn % len(self.urls)], method, path, body, within=within)
            await pause()
        raise AssertionError

    async def _call(
        self, url: str, method: str, path: str, body: Any = None, *, within: float
    ) -> httpx.Response:
        try:
            answer = await self._client.request(method, f"{url}/api/v1{path}", json=body, timeout=within)
        except httpx.TransportError as error:
            raise Unanswered(repr(error)) from error
        if answer.status_code in NOT_NOW:
            raise Unanswered(answer.text)
        return answer


async def pause(seconds: float = PAUSE) -> None:
    """A client's breath before it asks again; nothing is won or lost by it."""
    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=seconds)
