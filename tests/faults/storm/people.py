"""People: they hear of questions by sockets, lists and mail, and answer when they mean to; several at once.

Each thing they are told goes into the ledger the moment they are told it.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.faults.ledger import Ledger
from tests.faults.storm import interruptions
from tests.faults.storm.api import Api
from tests.faults.storm.clock import passes
from tests.faults.storm.errands import (
    ASKER,
    DECIDERS,
    PEOPLE,
    STANDIN,
    WITHDRAW,
    Move,
    Question,
    question_of,
)
from tests.faults.storm.installation import now
from tests.faults.storm.letters import Mailboxes

# How many people's clicks are under way at once; what a socket's answer may take; how often lists are read.
AT_ONCE = 24
SOCKET_PATIENCE = 10.0
LIST_INTERVAL = 15.0
# How many decisions one person makes in one go.
PILE = 50
# What the page of a link that decides nothing any more says of it.
DEAD = re.compile(r'data-code="(link_\w+)"')


class People:
    """All of them. `hurry`: from then on nobody thinks any more."""

    def __init__(self, api: Api, mailboxes: Mailboxes, ledger: Ledger, *, seed: int, thinking: float) -> None:
        self.hurry = asyncio.Event()
        self.counts = Counter[str]()
        self.surprises: list[str] = []
        self._api, self._mailboxes, self._ledger = api, mailboxes, ledger
        self._seed, self._thinking = seed, thinking
        self._seats = {person: Seat(person, self, api, ledger) for person in (*DECIDERS, STANDIN)}
        self._piles = {person: Pile(person, api) for person in PEOPLE}
        self._heard_of: set[str] = set()
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._tasks: asyncio.TaskGroup | None = None

    async def live(self) -> None:
        """Until cancelled. A move that has not been answered by then is noted as such."""
        async with asyncio.TaskGroup() as self._tasks:
            for seat in self._seats.values():
                self._tasks.create_task(seat.stay())
            for pile in self._piles.values():
                self._tasks.create_task(pile.work_off())
            self._tasks.create_task(self._read_lists())

    def hear(self, request: Mapping[str, Any]) -> None:
        """A request, as the server tells it: whoever means to do something about it will."""
        request_id = request["id"]
        if request["status"] != "pending" or request_id in self._heard_of or self._tasks is None:
            return
        self._heard_of.add(request_id)
        question = question_of(request["title"], self._seed, thinking=self._thinking)
        if question is None:
            question = self._of_the_installation(request)
        opened = datetime.fromisoformat(request["opened_at"]).timestamp()
        for move in question.moves:
            self._tasks.create_task(self._make(move, question, request_id, opened))

    def _of_the_installation(self, request: Mapping[str, Any]) -> Question:
        """What it asks by itself: what to do about a step that was interrupted."""
        self.counts["interrupted steps"] += 1
        dice = random.Random(f"{self._seed} {request['origin']['id']}")
        answer = interruptions.answer(request, self._ledger, stop=dice.random() < 0.15)
        move = Move(person=ASKER, after=dice.uniform(0, self._thinking / 4), says=answer)
        return Question(title=request["title"], kind=request["kind"], terms={}, moves=(move,))

    async def _make(self, move: Move, question: Question, request_id: str, opened: float) -> None:
        hurry = None if move.punctual else self.hurry
        await passes(opened + move.after - now(), unless=hurry)
        link = ""
        if move.by_link:
            link = await self._mailboxes.link_for(move.person, request_id, unless=self.hurry)
        answered = False
        try:
            if link:
                async with self._at_once:
                    await self._make_by_link(link, move, question, request_id)
            elif self.hurry.is_set() and move.says in ("approve", "reject"):
                result = await self._piles[move.person].decide(request_id, move.says)
                self._note(move, question, request_id, result)
            else:
                async with self._at_once:
                    await self._make_alone(move, question, request_id)
            answered = True
        finally:
            if not answered:
                self._ledger.unanswered(move.person, request_id, move.says)

    async def _make_alone(self, move: Move, question: Question, request_id: str) -> None:
        if move.by_socket and await self._seats[move.person].move(move, question, request_id):
            return
        path, body = _said(move, question)
        reply = await self._api.call(move.person, "POST", f"/requests/{request_id}/{path}", body=body)
        self._note(move, question, request_id, {"outcome" if reply.is_success else "error": reply.json()})

    async def _make_by_link(self, link: str, move: Move, question: Question, request_id: str) -> None:
        """Press a button of the page that the message links; that the link was used means: by this move."""
        _, said = _said(move, question)
        reply = await self._api.press(link, said)
        code = DEAD.search(reply.text)
        if reply.status_code == 200 or (code and code[1] == "link_used"):
            self.counts["decided by link"] += 1
            told = await self._api.call(move.person, "GET", f"/requests/{request_id}/outcome")
            self.told(move, request_id, told.json())
        else:
            self.refused(move, question, request_id, code[1] if code else str(reply.status_code))

    def _note(self, move: Move, question: Question, request_id: str, result: Mapping[str, Any]) -> None:
        """`result` has an `outcome` or an `error`, as one of many decisions has."""
        if error := result.get("error"):
            self.refused(move, question, request_id, error["code"], error.get("outcome"))
        else:
            self.told(move, request_id, result["outcome"])

    def told(self, move: Move, request_id: str, outcome: Mapping[str, Any]) -> None:
        self.counts["withdrawals told" if move.says == WITHDRAW else "decisions told"] += 1
        self._ledger.decided(move.person, request_id, move.says, outcome)

    def refused(
        self,
        move: Move,
        question: Question,
        request_id: str,
        code: str,
        outcome: Mapping[str, Any] | None = None,
    ) -> None:
        self.counts[f"refusals: {code}"] += 1
        self._ledger.refused(move.person, request_id, code, outcome)
        expected = {"already_decided", "too_late", "link_dead"}
        if not question.may_decide(move.person):
            expected = {"not_permitted", "unknown_request"}
        if code not in expected:
            self.surprises.append(f"{move.person} was refused with {code} at {request_id} ({question.title})")

    async def _read_lists(self) -> None:
        """Now and then somebody reads the whole list: sockets show what is new, and the most urgent."""
        while True:
            await passes(LIST_INTERVAL / 3 if self.hurry.is_set() else LIST_INTERVAL)
            cursor: str | None = ""
            while cursor is not None:
                query = {"cursor": cursor} if cursor else {}
                reply = await self._api.call(ASKER, "GET", "/requests", status="pending", limit=200, **query)
                page = reply.json()
                for request in page["requests"]:
                    self.hear(request)
                cursor = page["next"]


class Pile:
    """What one person decides in one go when all hurry: many at once, each with an answer of its own."""

    def __init__(self, person: str, api: Api) -> None:
        self._person, self._api = person, api
        self._waiting: asyncio.Queue[tuple[str, str, asyncio.Future[dict[str, Any]]]] = asyncio.Queue()

    async def decide(self, request_id: str, verdict: str) -> dict[str, Any]:
        """Its `outcome`, or an `error`."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        await self._waiting.put((request_id, verdict, future))
        return await future

    async def work_off(self) -> None:
        while True:
            pile = [await self._waiting.get()]
            while len(pile) < PILE and not self._waiting.empty():
                pile.append(self._waiting.get_nowait())
            decisions = [
                {"request_id": request_id, "decision": verdict, "comment": f"says {self._person}"}
                for request_id, verdict, _ in pile
            ]
            reply = await self._api.call(self._person, "POST", "/decisions", body={"decisions": decisions})
            for (_, _, future), result in zip(pile, reply.json()["results"], strict=True):
                if not future.done():
                    future.set_result(result)


class Seat:
    """One person's socket: opened again, at another server perhaps, whenever it is lost."""

    def __init__(self, person: str, people: People, api: Api, ledger: Ledger) -> None:
        self.person = person
        self._people, self._api, self._ledger = people, api, ledger
        self._connection: ClientConnection | None = None
        self._expected: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def stay(self) -> None:
        while True:
            try:
                await self._sit()
            except (OSError, ConnectionClosed, InvalidHandshake, TimeoutError, EOFError):
                self._people.counts["sockets lost"] += 1
            finally:
                self._connection = None
                for future in self._expected.values():
                    future.cancel()
            await passes(0.5)

    async def move(self, move: Move, question: Question, request_id: str) -> bool:
        """Decide here; False: no answer came, ask elsewhere. Asking twice is harmless."""
        if self._connection is None:
            return False
        kind = "decide" if question.kind == "approval" else "answer"
        said = {"decision" if kind == "decide" else "answer": move.says}
        frame = {"type": kind, "ref": request_id, "data": {"request_id": request_id, **said}}
        future = self._expected[request_id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(SOCKET_PATIENCE):
                await self._connection.send(json.dumps(frame))
                # Cancelled with the connection: no reason to end the one who waits.
                await asyncio.wait([future])
        except (TimeoutError, ConnectionClosed, OSError):
            return False
        finally:
            del self._expected[request_id]
        return not future.cancelled() and self._note(move, question, request_id, future.result())

    def _note(self, move: Move, question: Question, request_id: str, frame: dict[str, Any]) -> bool:
        data = frame["data"]
        if frame["type"] == "decision_accepted":
            self._people.counts["decided by socket"] += 1
            self._people.told(move, request_id, data["outcome"])
            return True
        if data["code"] in {"busy", "unavailable", "internal", "rate_limited"}:
            return False
        # A socket's refusal comes without the outcome; the socket tells of that by itself.
        self._people.refused(move, question, request_id, data["code"], data.get("outcome"))
        return True

    async def _sit(self) -> None:
        headers = self._api.authorization(self.person)
        address = self._api.socket_address()
        async with connect(
            address, additional_headers=headers, max_size=None, proxy=None, open_timeout=10, close_timeout=1
        ) as connection:
            self._connection = connection
            async for frame in connection:
                self._read(json.loads(frame))
        raise ConnectionError("the server has closed the socket")

    def _read(self, frame: dict[str, Any]) -> None:
        data = frame["data"]
        if frame["type"] == "snapshot":
            for request in data["requests"]:
                self._people.hear(request)
        elif frame["type"] in {"request_opened", "request_updated"}:
            self._people.hear(data["request"])
        elif frame["type"] == "request_closed":
            self._people.counts["ends heard by socket"] += 1
            self._ledger.waited(self.person, data["outcome"]["request_id"], data["outcome"])
        elif frame.get("ref") in self._expected and not self._expected[frame["ref"]].done():
            self._expected[frame["ref"]].set_result(frame)


def _said(move: Move, question: Question) -> tuple[str, dict[str, Any]]:
    if move.says == WITHDRAW:
        return "withdraw", {"reason": "not needed any more"}
    if question.kind == "approval":
        return "decision", {"decision": move.says, "comment": f"says {move.person}"}
    return "answer", {"answer": move.says}
