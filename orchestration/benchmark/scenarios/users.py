"""Many people with a live page open: what each costs, and how soon they see what concerns them."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from statistics import median
from time import monotonic, monotonic_ns
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import get_random_string

from approvals import queries
from approvals.database.threads import in_database
from approvals.waiting.waiting_room import waiting_room
from approvals.writer import queue
from approvals.writer.queue import outcome_of_result
from orchestration.benchmark import load
from orchestration.benchmark.child import BARE, PRODUCT
from orchestration.benchmark.machine import Needs
from orchestration.benchmark.processes import Environment, Remote, Server
from orchestration.benchmark.report import Cell, Check, Findings, Goal, Ratio, Scenario, Table
from orchestration.benchmark.sockets import TO_ALL, TO_ONE, Socket

PATHS = {PRODUCT: "/ws/inbox/", BARE: "/"}

ROUNDS = 5
EVENTS_A_ROUND = 5
# One user's events, while one and while all have joined.
EVENTS = 20
# So many of each where events are slow.
FEW = 2
PAUSE = 0.02
SETTLING = 1.0
IDLE = 4.0
GOAL = 5_000
# Connections that are opened side by side.
AT_ONCE = 64
# Seconds until a frame that has not come counts as lost.
PATIENCE = 60.0
SHOWN = "shown"
# As long as what Sayso sends.
FILLING = " " + "x" * 700


def session_of(person: User) -> Session:
    """Make a session as after a login; it is not saved."""
    data = {
        SESSION_KEY: str(person.pk),
        BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[0],
        HASH_SESSION_KEY: person.get_session_auth_hash(),
    }
    return Session(
        session_key=get_random_string(32),
        session_data=SessionStore().encode(data),
        expire_date=timezone.now() + timedelta(days=1),
    )


class Sockets(Remote):
    """Has the sockets open, and keeps which of them was sent what, and when."""

    async def begin(self) -> None:
        self._sockets: dict[str, list[Socket]] = {PRODUCT: [], BARE: []}
        self._events: dict[str, list[tuple[int, int, str]]] = {PRODUCT: [], BARE: []}
        self._snapshots = 0
        self._news = asyncio.Event()

    async def join(self, kind: str, port: int, cookies: list[str]) -> float:
        """Open a socket for each cookie; the seconds until all have what there is to show."""
        started, gate, sockets = monotonic(), asyncio.Semaphore(AT_ONCE), self._sockets[kind]
        told = self._told_by_product if kind == PRODUCT else self._told_by_bare

        async def open_one(number: int, cookie: str) -> Socket:
            async with gate:
                headers = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={cookie}"} if cookie else {}
                return await Socket.open(number, port, PATHS[kind], headers, told)

        sockets += await asyncio.gather(*itertools.starmap(open_one, enumerate(cookies, len(sockets))))
        if kind == PRODUCT:
            await self._until(lambda: self._snapshots >= len(sockets))
        return monotonic() - started

    async def say(self, number: int, text: str) -> int:
        """Send text to the bare server; when that was."""
        called = monotonic_ns()
        self._sockets[BARE][number].say(text)
        return called

    async def events(self, kind: str, count: int) -> list[tuple[int, int, str]]:
        """Return what came, (socket, moment, id or text), once it is `count` or nothing more comes."""
        events = self._events[kind]
        with suppress(TimeoutError):
            await self._until(lambda: len(events) >= count)
        return events

    async def last_event(self, kind: str, count: int) -> int:
        """Return when the event with this number came, or 0 if it did not."""
        events = await self.events(kind, count)
        return events[count - 1][1] if len(events) >= count else 0

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE + len(self._sockets[PRODUCT]) / 20):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def _told_by_product(self, number: int, moment: int, frame: bytes) -> None:
        told = json.loads(frame)
        if told["type"] == "snapshot":
            self._snapshots += not told["data"]["more"]
        elif told["type"] != "hello":
            id_ = told["data"].get("request", {}).get("id", told["type"])
            self._events[PRODUCT].append((number, moment, id_))
        self._news.set()

    def _told_by_bare(self, number: int, moment: int, frame: bytes) -> None:
        self._events[BARE].append((number, moment, frame[:20].decode()))
        self._news.set()


class Requester(Remote):
    """Puts requests on record for one person or for all, in a process of its own."""

    async def begin(self) -> None:
        await waiting_room().start()  # as in a server, which passes the hints on

    async def end(self) -> None:
        await waiting_room().stop()

    async def invite(self, count: int) -> list[str]:
        """Put that many people with a session each on record; returns the sessions."""
        self._people, self._everyone, sessions = await in_database(_invite, count)
        return sessions

    async def ask(self, number: int | None) -> tuple[int, str]:
        """Ask the person with this number, or everyone; when that was, and the request's id."""
        named: dict[str, Any] = {"group_ids": (self._everyone,)}
        if number is not None:
            named = {"user_ids": (self._people[number],)}
        command = load.opening(arguments={"amount": "12.40", "currency": "EUR"}, **named)
        called = monotonic_ns()
        outcome_of_result(await asyncio.wrap_future(queue.submit(command)))
        return called, str(command.request_id)

    async def expected(self, ids: list[str]) -> dict[str, str]:
        """Return which requests each connected person must have been shown, as `id@number`."""
        return await in_database(_expected, ids, self._people)


def _invite(count: int) -> tuple[list[int], int, list[str]]:
    people = User.objects.bulk_create([User(username=f"person-{n}") for n in range(count)])
    everyone = Group.objects.create(name="everyone")
    members = User.groups.through
    members.objects.bulk_create([members(user_id=person.pk, group_id=everyone.pk) for person in people])
    sessions = [session_of(person) for person in people]
    Session.objects.bulk_create(sessions)
    return [person.pk for person in people], everyone.pk, [session.session_key for session in sessions]


def _expected(ids: Sequence[str], people: Sequence[int]) -> dict[str, str]:
    numbers = {user_id: number for number, user_id in enumerate(people)}
    found: dict[str, str] = {}
    for request in queries.requests_by_id(ids):
        named = {user.pk for user in request.assigned_users.all()}
        for group in request.assigned_groups.all():
            named |= set(group.user_set.values_list("pk", flat=True))
        found |= {f"{request.pk}@{numbers[user_id]}": SHOWN for user_id in named}
    return found


class Site:
    """One kind of server with its sockets, and what it was measured to need."""

    def __init__(
        self, kind: str, server: Server, sockets: Sockets, requester: Requester, people: int
    ) -> None:
        self.kind, self.server = kind, server
        self._sockets, self._requester, self._people = sockets, requester, people
        self._draw = random.Random(people)  # noqa: S311  the same people each time
        self._came = 0
        self.asked: list[str] = []
        self.joined = self.memory = self.idle = self.alone = self.among_all = 0.0
        self.ones: list[float] = []
        self.alls: list[float] = []

    async def join(self, cookies: list[str]) -> float:
        return await self._sockets.join(self.kind, self.server.port, cookies)

    async def event(self, number: int | None) -> float:
        """Return the milliseconds from an event for this person, or for all, to the last frame of it."""
        if self.kind == PRODUCT:
            called, id_ = await self._requester.ask(number)
            self.asked.append(id_)
        else:
            called = await self._sockets.say(number or 0, (TO_ALL if number is None else TO_ONE) + FILLING)
        self._came += self._people if number is None else 1
        return load.milliseconds(await self._sockets.last_event(self.kind, self._came) - called)

    def somebody(self, people: int) -> int:
        return self._draw.randrange(people)

    async def cpu_of_one(self, events: int, joined: int, idle: float) -> float:
        """Return the CPU milliseconds per event, minus those of the idle server (`idle`: share of a core)."""
        _, before = await self.server.usage()
        started = monotonic()
        for _ in range(events):
            await asyncio.sleep(PAUSE)
            await self.event(self.somebody(joined))
        took = monotonic() - started
        _, after = await self.server.usage()
        return max(after - before - idle * took, 0.0) / events * 1000


async def idle_of(sites: Sequence[Site]) -> list[float]:
    """Return the share of a core that each server uses while nothing happens, all at the same time."""
    before = [(await site.server.usage())[1] for site in sites]
    await asyncio.sleep(IDLE)
    after = [(await site.server.usage())[1] for site in sites]
    return [(one - other) / IDLE for one, other in zip(after, before, strict=True)]


async def measure(env: Environment, sizes: Sequence[int]) -> Findings:
    """Measure live pages of many people on one server process.

    Two server processes, daphne as `manage.py serve` runs it: Sayso's whole application, and a bare Channels
    consumer that accepts and joins a group. A third process has N sockets open to each, for Sayso those of N
    people with a session each; its client does as little as a WebSocket client can. A fourth puts requests on
    record: for one person, or for a group that everybody is in. Memory (resident) is the server's growth from
    the second socket to the last, divided; idle CPU is both servers' over the same four seconds. Times are
    from the call that asks to the frame, the last one for all; five rounds in turns with the bare consumer,
    whose event is a text that it sends on through the channel layer. CPU of an event: twenty for people drawn
    by lot, less what the server uses anyway. On a stack of one process, Sayso finds what another process
    asked by its re-check, every two seconds; there events are few.
    """
    (people,) = sizes
    slow = not env.stack.two_processes  # there, each event takes as long as the re-check's interval
    events = FEW if slow else EVENTS
    sockets, requester = await env.start(Sockets), await env.start(Requester)
    cookies = {PRODUCT: await requester.invite(people), BARE: [""] * people}
    sites = [Site(kind, await env.serve(kind), sockets, requester, people) for kind in PATHS]
    for site in sites:
        await site.join(cookies[site.kind][:1])
        for _ in range(events):  # warms up
            await site.event(0)
    for site, idle in zip(sites, await idle_of(sites), strict=True):
        site.alone = await site.cpu_of_one(events, 1, idle)
    for site in sites:
        before, _ = await site.server.usage()
        site.joined = await site.join(cookies[site.kind][1:])
        await asyncio.sleep(SETTLING)
        site.memory = ((await site.server.usage())[0] - before) / (people - 1)
    for site, idle in zip(sites, await idle_of(sites), strict=True):
        site.idle = idle
    for site in sites:
        site.among_all = await site.cpu_of_one(events, people, site.idle)
    for _, site in env.turns(sites, env.rounds(FEW if slow else ROUNDS)):
        some = [await site.event(site.somebody(people)) for _ in range(1 if slow else EVENTS_A_ROUND)]
        site.ones.append(median(some))
        site.alls.append(await site.event(None))
    await asyncio.sleep(SETTLING)

    sayso, bare = sites
    expected = await requester.expected(sayso.asked)
    told = [(f"{id_}@{n}", SHOWN) for n, _, id_ in await sockets.events(PRODUCT, len(expected))]

    def row(what: str, unit: str, one: float, other: float) -> tuple[Cell, ...]:
        return what, unit, one, other, one / other if other > 0 else None

    def event_row(what: str, one: list[float], other: list[float]) -> tuple[Cell, ...]:
        return what, "ms", median(one), median(other), Ratio.of(one, other).median

    return Findings(
        tables=[
            [
                row("memory of an idle socket", "KiB", sayso.memory / 1024, bare.memory / 1024),
                row("CPU while all are idle", "% of a core", sayso.idle * 100, bare.idle * 100),
                row("until all are joined", "s", sayso.joined, bare.joined),
                event_row("event for one user", sayso.ones, bare.ones),
                event_row("event for all, the last", sayso.alls, bare.alls),
                row("CPU of an event for one, 1 joined", "ms", sayso.alone, bare.alone),
                row("CPU of an event for one, all joined", "ms", sayso.among_all, bare.among_all),
            ]
        ],
        goals=[
            float(people) if people >= GOAL else None,
            float(sum(name not in expected for name, _ in told)),
            sayso.memory / bare.memory if bare.memory > 0 else None,
        ],
        check=Check.of(told, expected),
        notes=(
            "Here a wait is a person's for a frame: each was sent what the record says concerns her, once.",
            (
                "The bare consumer's event goes through its layer alone; Sayso's is put on record by another"
                " process, and read, with session and rights of whom it concerns, before anyone is told."
            ),
        ),
    )


USERS = Scenario(
    name="users",
    unit="people",
    sizes=(200,),
    least=10,
    most=5_000,
    needs=lambda size: Needs(files=2 * size, memory=400_000_000 + 200_000 * size),
    measure=measure,
    tables=(
        Table("{size:,} people with a socket each, one server process", "; unit; Sayso; bare consumer; ×"),
    ),
    goals=(
        Goal(f"{GOAL:,} sockets on one process", GOAL, "sockets", at_least=True),
        Goal(
            "an event for one user costs that user's sockets only: frames that others were sent", 0, "frames"
        ),
        Goal("memory of an idle socket at most 1.5 × a bare consumer's", 1.5),
    ),
)
