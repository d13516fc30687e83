"""Many people with a live page open: what each costs, and how soon they see what concerns them."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from statistics import median
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection

from approvals import queries
from approvals.database.threads import in_database
from approvals.waiting.waiting_room import waiting_room
from approvals.writer import queue
from approvals.writer.queue import outcome_of_result
from orchestration.benchmark import load
from orchestration.benchmark.child import BARE, PRODUCT
from orchestration.benchmark.processes import Environment, Remote, Server
from orchestration.benchmark.report import Check, Ratio, Report, Samples, Scenario

if TYPE_CHECKING:  # it needs a package of the extra `benchmark`
    from orchestration.benchmark.sockets import Socket

PATHS = {PRODUCT: "/ws/inbox/", BARE: "/"}

ROUNDS = 5
EVENTS_A_ROUND = 5
# Events for one user, while one is joined and while all are.
EVENTS = 20
# Rounds and events of each kind where events are slow.
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
MEMORY, IDLE_CPU, JOINED = "memory of an idle socket", "CPU while all are idle", "until all are joined"
FOR_ONE, FOR_ALL = "event for one user", "event for all, the last"
CPU_ALONE, CPU_AMONG_ALL = "CPU of an event for one, 1 joined", "CPU of an event for one, all joined"
FIGURES = {
    MEMORY: "KiB",
    IDLE_CPU: "% of a core",
    JOINED: "s",
    FOR_ONE: "ms",
    FOR_ALL: "ms",
    CPU_ALONE: "ms",
    CPU_AMONG_ALL: "ms",
}
# Makes a bare frame as long as one of Sayso's.
FILLING = " " + "x" * 700


def log_in(person: User) -> str:
    """Make a session as after a login; returns its key."""
    session = SessionStore()
    session[SESSION_KEY] = str(person.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = person.get_session_auth_hash()
    session.create()
    return str(session.session_key)


class Sockets(Remote):
    """Holds the open sockets, and keeps what each was sent, and when."""

    async def begin(self) -> None:
        self._sockets: dict[str, list[Socket]] = {PRODUCT: [], BARE: []}
        self._events: dict[str, list[tuple[int, int, str]]] = {PRODUCT: [], BARE: []}
        self._snapshots = 0
        self._news = asyncio.Event()

    async def join(self, kind: str, port: int, cookies: list[str]) -> float:
        """Open a socket for each cookie; returns the seconds until all have their first snapshot."""
        from orchestration.benchmark.sockets import Socket

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

    async def say(self, number: int | None) -> int:
        """Have the bare server send text to this socket, or to all; returns when, in nanoseconds."""
        from orchestration.benchmark.sockets import TO_ALL, TO_ONE

        text = (TO_ALL if number is None else TO_ONE) + FILLING
        called = monotonic_ns()
        self._sockets[BARE][number or 0].say(text)
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

    async def invite(self, count: int) -> list[str]:
        """Put `count` people with a session each on record; returns the sessions' keys."""
        self._people, self._everyone, sessions = await in_database(_invite, count)
        return sessions

    async def ask(self, number: int | None) -> tuple[int, str]:
        """Ask the person with this number, or everyone; returns when, and the request's id."""
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
    sessions = [log_in(person) for person in people]
    with connection.cursor() as cursor:
        for table in (User, members, Session):  # as the database itself does before long
            cursor.execute(f"ANALYZE {connection.ops.quote_name(table._meta.db_table)}")
    return [person.pk for person in people], everyone.pk, sessions


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
    """One kind of server with its sockets, and what an event takes there."""

    def __init__(
        self, kind: str, server: Server, sockets: Sockets, requester: Requester, people: int
    ) -> None:
        self.kind, self.server, self.asked = kind, server, list[str]()
        self._sockets, self._requester, self._people = sockets, requester, people
        self._draw = random.Random(people)  # noqa: S311  the same people each time
        self._came = 0

    async def join(self, cookies: list[str]) -> float:
        return await self._sockets.join(self.kind, self.server.port, cookies)

    async def event(self, joined: int | None = None) -> float:
        """Return the milliseconds from an event for one of the joined, or for all, to its last frame."""
        number = None if joined is None else self._draw.randrange(joined)
        if self.kind == PRODUCT:
            called, id_ = await self._requester.ask(number)
            self.asked.append(id_)
        else:
            called = await self._sockets.say(number)
        self._came += self._people if number is None else 1
        return load.milliseconds(await self._sockets.last_event(self.kind, self._came) - called)

    async def cpu_of_one(self, events: int, joined: int, idle: float) -> float:
        """Return the CPU milliseconds per event, minus those of the idle server (`idle`: share of a core)."""
        _, before = await self.server.usage()
        started = monotonic()
        for _ in range(events):
            await asyncio.sleep(PAUSE)
            await self.event(joined)
        took = monotonic() - started
        _, after = await self.server.usage()
        return max(after - before - idle * took, 0.0) / events * 1000


async def idle_of(sites: Sequence[Site]) -> dict[str, float]:
    """Return the share of a core that each server uses while nothing happens, all at the same time."""
    before = [(await site.server.usage())[1] for site in sites]
    await asyncio.sleep(IDLE)
    return {
        site.kind: ((await site.server.usage())[1] - cpu) / IDLE
        for site, cpu in zip(sites, before, strict=True)
    }


async def measure(env: Environment, sizes: Sequence[int]) -> Report:
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
    found = Samples()
    for site in sites:
        await site.join(cookies[site.kind][:1])
        for _ in range(events):  # warms up
            await site.event(1)
    idle = await idle_of(sites)
    for site in sites:
        found[CPU_ALONE, site.kind].append(await site.cpu_of_one(events, 1, idle[site.kind]))
    for site in sites:
        before, _ = await site.server.usage()
        found[JOINED, site.kind].append(await site.join(cookies[site.kind][1:]))
        await asyncio.sleep(SETTLING)
        gained = (await site.server.usage())[0] - before
        found[MEMORY, site.kind].append(gained / (people - 1) / 1024)
    idle = await idle_of(sites)
    for site in sites:
        found[IDLE_CPU, site.kind].append(idle[site.kind] * 100)
        found[CPU_AMONG_ALL, site.kind].append(await site.cpu_of_one(events, people, idle[site.kind]))
    for _, site in env.turns(sites, env.rounds(FEW if slow else ROUNDS)):
        some = [await site.event(people) for _ in range(1 if slow else EVENTS_A_ROUND)]
        found[FOR_ONE, site.kind].append(median(some))
        found[FOR_ALL, site.kind].append(await site.event())
    await asyncio.sleep(SETTLING)
    expected = await requester.expected(sites[0].asked)
    told = [(f"{id_}@{n}", SHOWN) for n, _, id_ in await sockets.events(PRODUCT, len(expected))]
    others = sum(name not in expected for name, _ in told)
    return _report(Check.of(told, expected), found, people, others)


def _report(check: Check, found: Samples, people: int, others: int) -> Report:
    report = Report(
        check,
        "Here a wait is a person's for a frame: each was sent what the record says concerns her, once.",
        "The bare consumer's event goes through its layer alone; Sayso's is put on record by another process,"
        " and read, with session and rights of whom it concerns, before anyone is told.",
    )

    def times(figure: str) -> float | None:
        bare = found[figure, BARE]
        return Ratio.of(found[figure, PRODUCT], bare).median if max(bare) > 0 else None

    report.table(
        f"{people:,} people with a socket each, one server process",
        "; unit; Sayso; bare consumer; ×",
        [
            (figure, unit, found.median((figure, PRODUCT)), found.median((figure, BARE)), times(figure))
            for figure, unit in FIGURES.items()
        ],
    )
    joined = float(people) if people >= GOAL else None
    report.at_least(f"{GOAL:,} sockets on one process", GOAL, joined, "sockets")
    goal = "an event for one user costs that user's sockets only: frames that others were sent"
    report.at_most(goal, 0, float(others), "frames")
    report.at_most("an event for one user: at most 4 × a bare consumer's", 4, times(FOR_ONE))
    report.at_most("until all are joined: at most 1.5 × a bare consumer's", 1.5, times(JOINED))
    report.at_most("memory of an idle socket at most 1.5 × a bare consumer's", 1.5, times(MEMORY))
    above = found.median((IDLE_CPU, PRODUCT)) - found.median((IDLE_CPU, BARE))
    report.at_most("idle, sessions and rights being checked: at most 3 % of a core above", 3, above, "%")
    return report


USERS = Scenario(
    "users",
    measure,
    unit="people",
    sizes=(200,),
    least=10,
    most=5_000,
    memory=(400_000_000, 200_000),
    files=2,
    package="websockets",
)
