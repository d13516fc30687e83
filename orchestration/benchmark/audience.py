"""Roles of the scenario `users`: who serves, who has sockets open, and who asks the people at them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
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
from approvals.database.fields import new_id
from approvals.database.threads import in_database
from approvals.domain.commands import Actor, OpenRequest
from approvals.domain.lifecycle import Kind, Verdict
from approvals.waiting.room import waiting_room
from approvals.writer import queue
from orchestration.benchmark.players import PROJECT
from orchestration.benchmark.roles import Role
from orchestration.benchmark.serving import BARE, PRODUCT
from orchestration.benchmark.sockets import Socket

PATHS = {PRODUCT: "/ws/inbox/", BARE: "/"}
# Connections that are opened side by side.
AT_ONCE = 64
# Seconds until a frame that has not come counts as lost.
PATIENCE = 60.0
SHOWN = "shown"


class Host(Role):
    """Serves: each server is a process of its own."""

    async def begin(self) -> None:
        self._servers: dict[str, asyncio.subprocess.Process] = {}

    async def end(self) -> None:
        for server in self._servers.values():
            with suppress(ProcessLookupError):
                server.kill()
            await server.wait()

    async def serve(self, kind: str) -> int:
        """Returns the port once it listens."""
        server = self._servers[kind] = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "orchestration.benchmark.serving",
            kind,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=PROJECT,
        )
        port: int = (await self._line(server))["port"]
        return port

    async def usage(self, kind: str) -> tuple[int, float]:
        """Memory (bytes) and CPU time so far (seconds) of that server."""
        server = self._servers[kind]
        if server.stdin:
            server.stdin.write(b"\n")
        told = await self._line(server)
        return told["memory"], told["cpu"]

    async def _line(self, server: asyncio.subprocess.Process) -> dict[str, Any]:
        line = await server.stdout.readline() if server.stdout else b""
        if not line:
            raise RuntimeError(f"a server ended with {await server.wait()}")
        told: dict[str, Any] = json.loads(line)
        return told


class Visitors(Role):
    """Has the sockets open, and keeps which of them was sent what, and when."""

    async def begin(self) -> None:
        self._sockets: dict[str, list[Socket]] = {PRODUCT: [], BARE: []}
        self._events: dict[str, list[tuple[int, int, str]]] = {PRODUCT: [], BARE: []}
        self._snapshots = 0
        self._news = asyncio.Event()

    async def end(self) -> None:
        for sockets in self._sockets.values():
            for socket in sockets:
                socket.close()

    async def join(self, kind: str, port: int, cookies: list[str]) -> float:
        """Open a socket for each cookie; the seconds until all have what there is to show."""
        started, gate = monotonic(), asyncio.Semaphore(AT_ONCE)
        sockets = self._sockets[kind]
        told = self._told_by_product if kind == PRODUCT else self._told_by_bare

        async def open_one(number: int, cookie: str) -> Socket:
            async with gate:
                headers = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={cookie}"} if cookie else {}
                return await Socket.open(number, port, PATHS[kind], headers, told)

        first = len(sockets)
        sockets += await asyncio.gather(*map(open_one, range(first, first + len(cookies)), cookies))
        if kind == PRODUCT:
            await self._until(lambda: self._snapshots >= len(sockets), "snapshots")
        return monotonic() - started

    async def say(self, number: int, text: str) -> int:
        """Send text to the bare server; when that was."""
        called = monotonic_ns()
        self._sockets[BARE][number].say(text)
        return called

    async def events(self, kind: str, count: int) -> list[tuple[int, int, str]]:
        """All that came so far, (socket, moment, id or text), once it is `count` or nothing more comes."""
        events = self._events[kind]
        with suppress(TimeoutError):
            await self._until(lambda: len(events) >= count, "events")
        return events

    async def last_event(self, kind: str, count: int) -> int:
        """When the event with this number came, or 0 if it did not."""
        events = await self.events(kind, count)
        return events[count - 1][1] if len(events) >= count else 0

    async def _until(self, condition: Any, what: str) -> None:
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


class Asker(Role):
    """Puts requests on record for one person or for all, in a process of its own."""

    async def begin(self) -> None:
        await waiting_room().start()  # as in a server, which passes the hints on

    async def end(self) -> None:
        await waiting_room().stop()

    async def invite(self, count: int) -> list[str]:
        """That many people with a session each; returns the sessions."""
        self._people, self._everyone, sessions = await in_database(_invite, count)
        return sessions

    async def ask_one(self, number: int) -> tuple[int, str]:
        """Ask the person with this number; when that was, and the request's id."""
        return await self._ask(user_ids=(self._people[number],))

    async def ask_all(self) -> tuple[int, str]:
        return await self._ask(group_ids=(self._everyone,))

    async def expected(self, ids: list[str]) -> dict[str, str]:
        """By the record: who must have been shown what, as `id@number`."""
        return await in_database(_expected, ids, self._people)

    async def _ask(self, user_ids: tuple[int, ...] = (), group_ids: tuple[int, ...] = ()) -> tuple[int, str]:
        command = OpenRequest(
            request_id=new_id(),
            actor=Actor.program(),
            kind=Kind.APPROVAL,
            title="Refund an order",
            arguments={"amount": "12.40", "currency": "EUR"},
            user_ids=user_ids,
            group_ids=group_ids,
            timeout=86_400.0,
            on_timeout=Verdict.REJECT,
        )
        called = monotonic_ns()
        queue.outcome_of_result(await asyncio.wrap_future(queue.submit(command)))
        return called, str(command.request_id)


def key(id_: str, number: int) -> str:
    return f"{id_}@{number}"


def _invite(count: int) -> tuple[list[int], int, list[str]]:
    people = User.objects.bulk_create([User(username=f"person-{n}") for n in range(count)])
    everyone = Group.objects.create(name="everyone")
    members = User.groups.through
    members.objects.bulk_create([members(user_id=person.pk, group_id=everyone.pk) for person in people])
    sessions = [session_of(person) for person in people]
    Session.objects.bulk_create(sessions)
    return [person.pk for person in people], everyone.pk, [session.session_key for session in sessions]


def session_of(person: User) -> Session:
    """As after a login."""
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


def _expected(ids: Sequence[str], people: Sequence[int]) -> dict[str, str]:
    numbers = {user_id: number for number, user_id in enumerate(people)}
    found: dict[str, str] = {}
    for request in queries.requests_by_id(ids):
        named = {user.pk for user in request.assigned_users.all()}
        for group in request.assigned_groups.all():
            named |= set(group.user_set.values_list("pk", flat=True))
        found |= {key(str(request.pk), numbers[user_id]): SHOWN for user_id in named}
    return found
