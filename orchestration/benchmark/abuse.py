"""Roles of the scenario `abuse`: one account that does its worst over HTTP, and others who work meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import perf_counter
from typing import Any

import httpx
from django.conf import settings
from django.contrib.auth.models import Permission, User

from approvals.database.threads import in_database
from approvals.waiting.room import waiting_room
from approvals.web.edge import tokens
from orchestration.benchmark import records
from orchestration.benchmark.audience import session_of
from orchestration.benchmark.roles import Role

PATIENCE = 120.0
API = "/api/v1"
# Between two things that somebody does: nobody's own requests shall delay each other.
PAUSE = 0.02
# Bytes: just below what a request may bring; and a table that fills what details may hold.
LARGE, TABLE = 900_000, 100_000

DEEDS = ("inbox page", "request page", "list", "decision")


class Colleagues(Role):
    """People and a program who read and decide, one thing after the other."""

    async def begin(self) -> None:
        await waiting_room().start()
        self._clients: list[httpx.AsyncClient] = []
        self._told: list[tuple[str, str]] = []
        self._asked: list[str] = []

    async def end(self) -> None:
        for client in self._clients:
            await client.aclose()
        await waiting_room().stop()

    async def arrive(self, port: int, requests: int) -> None:
        """A reviewer with a session and a token; and so many requests that wait."""
        cookie, token = await in_database(_reviewer)
        self._browser = _client(port, {"Cookie": f"{settings.SESSION_COOKIE_NAME}={cookie}"})
        self._program = _client(port, {"Authorization": f"Bearer {token}"})
        self._clients = [self._browser, self._program]
        self._standing = [str(id_) for id_ in await in_database(records.open_requests, requests)]

    async def work(self, times: int) -> dict[str, list[float]]:
        """Do each deed so often, in turns; the milliseconds of each."""
        ids = [str(id_) for id_ in await in_database(records.open_requests, times)]
        self._asked += ids
        took: dict[str, list[float]] = {deed: [] for deed in DEEDS}
        for number, id_ in enumerate(ids):
            deeds: dict[str, Callable[[], Awaitable[httpx.Response]]] = {
                "inbox page": lambda: self._browser.get("/"),
                "request page": lambda: self._browser.get(f"/requests/{self._standing[number]}/"),  # noqa: B023
                "list": lambda: self._program.get(f"{API}/requests?limit=20"),
                "decision": lambda: self._decide(id_),  # noqa: B023
            }
            for deed in DEEDS:
                started = perf_counter()
                (await deeds[deed]()).raise_for_status()
                took[deed].append((perf_counter() - started) * 1000)
                await asyncio.sleep(PAUSE)
        return took

    async def told(self) -> list[tuple[str, str]]:
        """The decisions that were acknowledged, (id, status)."""
        return self._told

    async def recorded(self) -> dict[str, str]:
        return await in_database(records.recorded, self._asked)

    async def _decide(self, id_: str) -> httpx.Response:
        response = await self._program.post(f"{API}/requests/{id_}/decision", json={"decision": "approve"})
        if response.is_success:
            self._told.append((id_, response.json()["status"]))
        return response


class Abuser(Role):
    """One account without a group: everything that costs much, many at a time, without a pause."""

    async def begin(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._answers: Counter[str] = Counter()
        self._asked: list[str] = []
        self._numbers = itertools.count()
        self._draw = random.Random(1)  # noqa: S311  the same each time

    async def end(self) -> None:
        await self.cease()
        await self._browser.aclose()
        await self._program.aclose()

    async def arrive(self, port: int) -> None:
        cookie, token = await in_database(_account)
        self._browser = _client(port, {"Cookie": f"{settings.SESSION_COOKIE_NAME}={cookie}"})
        self._program = _client(port, {"Authorization": f"Bearer {token}"})

    async def abuse(self, at_once: int) -> None:
        """Begin, with so many connections; returns once each kind of deed has been answered once."""
        deeds = (self._ask_large, self._ask_table, self._ask_schema, self._look, self._look_for)
        for deed in deeds:
            await deed()
        self._tasks = [asyncio.create_task(self._go_on(deeds, number)) for number in range(at_once)]

    async def cease(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def answers(self) -> dict[str, int]:
        """How often it was answered with which status code."""
        return dict(self._answers)

    async def _go_on(self, deeds: tuple[Callable[[], Awaitable[None]], ...], first: int) -> None:
        for number in itertools.count(first):
            with suppress(httpx.TransportError):
                await deeds[number % len(deeds)]()

    async def _ask_large(self) -> None:
        await self._ask(arguments={"text": f"{next(self._numbers):08}" * (LARGE // 8)})

    async def _ask_table(self) -> None:
        """Other cells each time, and looked at at once: nothing of it has been formatted before."""
        row = f"|{next(self._numbers)}" + "|x" * 48 + "|\n"
        id_ = await self._ask(details=row + "|-" * 49 + "|\n" + row * (TABLE // len(row) - 2))
        if id_:
            await self._told(self._browser.get(f"/requests/{id_}/"))

    async def _ask_schema(self) -> None:
        await self._ask(
            kind="clarification",
            schema={"type": "array", "items": {"anyOf": [{"const": number} for number in range(400)]}},
            default=[399] * 2_000,
        )

    async def _look(self) -> None:
        await self._told(self._browser.get("/?limit=200"))

    async def _look_for(self) -> None:
        if self._asked:
            await self._told(self._browser.get(f"/requests/{self._draw.choice(self._asked)}/"))
        await self._told(self._program.get(f"{API}/requests?limit=200"))

    async def _ask(self, **terms: Any) -> str | None:
        body = {"kind": "approval", "title": f"Number {next(self._numbers)}"} | terms
        response = await self._told(self._program.post(f"{API}/requests", json=body))
        if response.status_code != httpx.codes.CREATED:
            return None
        self._asked.append(response.json()["id"])
        return self._asked[-1]

    async def _told(self, asking: Awaitable[httpx.Response]) -> httpx.Response:
        response = await asking
        self._answers[str(response.status_code)] += 1
        return response


def _client(port: int, headers: dict[str, str]) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}",
        headers=headers,
        timeout=PATIENCE,
        limits=httpx.Limits(max_connections=None),
        trust_env=False,
    )


def _reviewer() -> tuple[str, str]:
    user = User.objects.create(username="reviewer")
    user.user_permissions.set(
        Permission.objects.filter(codename__in=("view_humanrequest", "decide_humanrequest"))
    )
    return _entry(user, "read", "decide")


def _account() -> tuple[str, str]:
    return _entry(User.objects.create(username="mallory"), "ask", "read")


def _entry(user: User, *scopes: str) -> tuple[str, str]:
    """A session's key and a token."""
    session = session_of(user)
    session.save()
    _, secret = tokens.issue(user.pk, "benchmark", scopes)
    return str(session.session_key), secret
