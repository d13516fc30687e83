"""How long others wait for a server while one account does its worst, beside the same without it."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from statistics import median
from time import perf_counter
from typing import Any

import httpx
from django.conf import settings
from django.contrib.auth.models import Permission, User

from approvals.database.threads import in_database
from approvals.waiting.waiting_room import waiting_room
from approvals.web.edge import tokens
from orchestration.benchmark import load
from orchestration.benchmark.child import PRODUCT
from orchestration.benchmark.processes import Environment, Remote
from orchestration.benchmark.report import Check, Report, Samples, Scenario, percentiles
from orchestration.benchmark.scenarios.users import log_in

ROUNDS = 5
TIMES = 10
ALONE, BESIDE = "alone", "beside it"
# Seconds until the abusive load is under way, and until the server is done with it.
BEGINNING = ENDING = 1.0
# A server's default limit for one account; that for an address is higher, so it stays off.
LIMITS = {"SAYSO_RATE_LIMIT": "100"}

PATIENCE = 120.0
API = "/api/v1"
# Seconds between two requests of the reviewer, so that they don't delay each other.
PAUSE = 0.02
# Bytes: just below the limit of a request's body; and a table as long as details may be.
LARGE, TABLE = 900_000, 100_000

WORK = ("inbox page", "request page", "list", "decision")


class Account(Remote):
    """A client with a session and a token of the server."""

    permissions: tuple[str, ...] = ()
    scopes: tuple[str, ...]

    async def arrive(self, port: int) -> None:
        cookie, token = await in_database(self._enter)
        self.browser = _client(port, Cookie=f"{settings.SESSION_COOKIE_NAME}={cookie}")
        self.program = _client(port, Authorization=f"Bearer {token}")

    def _enter(self) -> tuple[str, str]:
        user = User.objects.create(username=type(self).__name__)
        user.user_permissions.set(Permission.objects.filter(codename__in=self.permissions))
        _, secret = tokens.issue(user.pk, "benchmark", self.scopes)
        return log_in(user), secret


def _client(port: int, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}",
        headers=headers,
        timeout=PATIENCE,
        limits=httpx.Limits(max_connections=None),
        trust_env=False,
    )


class Reviewer(Account):
    """A person and a program who read and decide, one thing after the other."""

    permissions = ("view_humanrequest", "decide_humanrequest")
    scopes = ("read", "decide")

    async def begin(self) -> None:
        await waiting_room().start()
        self._told: list[tuple[str, str]] = []
        self._asked: list[str] = []
        self._standing = await in_database(load.open_requests, TIMES)

    async def work(self, times: int) -> dict[str, list[float]]:
        """Do each kind of work `times` times, in turns; returns the milliseconds of each."""
        ids = [str(id_) for id_ in await in_database(load.open_requests, times)]
        self._asked += ids
        took: dict[str, list[float]] = {work: [] for work in WORK}
        for id_, standing in zip(ids, self._standing, strict=False):
            await self._time(took["inbox page"], self.browser.get("/"))
            await self._time(took["request page"], self.browser.get(f"/requests/{standing}/"))
            await self._time(took["list"], self.program.get(f"{API}/requests?limit=20"))
            deciding = self.program.post(f"{API}/requests/{id_}/decision", json={"decision": "approve"})
            decided = await self._time(took["decision"], deciding)
            self._told.append((id_, decided.json()["status"]))
        return took

    async def check(self) -> tuple[list[tuple[str, str]], dict[str, str]]:
        """Return the decisions that were acknowledged, (id, status), and what is on record."""
        return self._told, await in_database(load.recorded, self._asked)

    async def _time(self, took: list[float], asking: Awaitable[httpx.Response]) -> httpx.Response:
        started = perf_counter()
        response = await asking
        took.append((perf_counter() - started) * 1000)
        response.raise_for_status()
        await asyncio.sleep(PAUSE)
        return response


class Abuser(Account):
    """One account without a group: everything that costs much, many at a time, without a pause."""

    scopes = ("ask", "read")

    async def begin(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._answers: Counter[str] = Counter()
        self._asked: list[str] = []
        self._numbers = itertools.count()
        self._draw = random.Random(1)  # noqa: S311  the same each time

    async def abuse(self, at_once: int) -> None:
        """Start the abusive load; return after each kind of request has been answered once."""
        kinds = (self._ask_large, self._ask_table, self._ask_schema, self._look, self._look_for)
        for kind in kinds:
            await kind()
        self._tasks = [asyncio.create_task(self._go_on(kinds, number)) for number in range(at_once)]

    async def cease(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def answers(self) -> dict[str, int]:
        """Return how often it was answered with which status code."""
        return dict(self._answers)

    async def _go_on(self, kinds: Sequence[Callable[[], Awaitable[None]]], first: int) -> None:
        for number in itertools.count(first):
            with suppress(httpx.TransportError):
                await kinds[number % len(kinds)]()

    async def _ask_large(self) -> None:
        await self._ask(arguments={"text": f"{next(self._numbers):08}" * (LARGE // 8)})

    async def _ask_table(self) -> None:
        """Ask with a table of new cells and look at it at once, when it has never been formatted before."""
        row = f"|{next(self._numbers)}" + "|x" * 48 + "|\n"
        if id_ := await self._ask(details=row + "|-" * 49 + "|\n" + row * (TABLE // len(row) - 2)):
            await self._count(self.browser.get(f"/requests/{id_}/"))

    async def _ask_schema(self) -> None:
        schema = {"type": "array", "items": {"anyOf": [{"const": number} for number in range(400)]}}
        await self._ask(kind="clarification", schema=schema, default=[399] * 2_000)

    async def _look(self) -> None:
        await self._count(self.browser.get("/?limit=200"))

    async def _look_for(self) -> None:
        if self._asked:
            await self._count(self.browser.get(f"/requests/{self._draw.choice(self._asked)}/"))
        await self._count(self.program.get(f"{API}/requests?limit=200"))

    async def _ask(self, **terms: Any) -> str | None:
        body = {"kind": "approval", "title": f"Number {next(self._numbers)}"} | terms
        response = await self._count(self.program.post(f"{API}/requests", json=body))
        if response.status_code != httpx.codes.CREATED:
            return None
        self._asked.append(response.json()["id"])
        return self._asked[-1]

    async def _count(self, asking: Awaitable[httpx.Response]) -> httpx.Response:
        response = await asking
        self._answers[str(response.status_code)] += 1
        return response


async def measure(env: Environment, sizes: Sequence[int]) -> Report:
    """Measure the latency of other accounts while one account overloads the server.

    One server process, daphne as `manage.py serve` runs it, with the limits for one account that it has
    unless told otherwise. A second process has the session and the token of a reviewer, and reads the inbox,
    a request, a list and decides, one after the other with 20 ms between. A third has an account in no group,
    and N requests under way at any moment, without a pause: requests of 900 kB, tables of 100 kB that are
    looked at as soon as they are asked, schemas with costly answers, its own inbox and lists. Rounds with and
    without it in turns; the ratio is of a round's medians, with the range of the rounds.
    """
    server = await env.serve(PRODUCT, **LIMITS)
    reviewer, abuser = await env.start(Reviewer), await env.start(Abuser)
    await reviewer.arrive(server.port)
    await abuser.arrive(server.port)
    await reviewer.work(2)  # warms up
    before, _ = await server.usage()
    medians, every = Samples(), Samples()
    for _, kind in env.turns([ALONE, BESIDE], env.rounds(ROUNDS)):
        if kind == BESIDE:
            await abuser.abuse(sizes[-1])
            await asyncio.sleep(BEGINNING)
        for work, took in (await reviewer.work(TIMES)).items():
            medians[kind, work].append(median(took))
            every[kind, work] += took
        if kind == BESIDE:
            await abuser.cease()
            await asyncio.sleep(ENDING)
    grown = ((await server.usage())[0] - before) / 2**20
    answers = sorted((await abuser.answers()).items())
    said = ", ".join(f"{count} × {status}" for status, count in answers)
    report = Report(
        Check.of(*await reviewer.check()),
        "Here a wait is a decision that was acknowledged.",
        f"The account was answered: {said}. The server's memory grew by {grown:.0f} MiB.",
    )
    ratios = {work: medians.ratio((BESIDE, work), (ALONE, work)) for work in WORK}
    shares = {key: (median(took), *percentiles(took, 0.95)) for key, took in every.items()}
    report.table(
        f"What others do while one account has {sizes[-1]} requests under way",
        "; p50 alone|ms; p95 alone|ms; p50 beside it|ms; p95 beside it|ms; ×",
        [(work, *shares[ALONE, work], *shares[BESIDE, work], str(ratios[work])) for work in WORK],
    )
    slowest = max(ratio.median for ratio in ratios.values())
    report.at_most(
        "others' latency beside an account that does its worst, by whatever is slowest", 2.0, slowest
    )
    return report


ABUSE = Scenario(
    "abuse", measure, unit="requests at once", sizes=(30,), most=500, memory=(800_000_000, 0), files=2
)
