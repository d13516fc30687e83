"""The floor: the least that recording a decision and telling another process of it can be.

A conditional UPDATE and an INSERT in one statement and one commit, by the bare database driver, on two small
tables; a bare Redis publish; a future in a dictionary. No permissions, validation, hash chain, deadline, ORM.
On SQLite, and without Redis, the same with what there is.
"""

from __future__ import annotations

import asyncio
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic_ns
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
import redis
import redis.asyncio
from django.conf import settings
from django.db import connection

STATUS = "approved"

# As long as what Sayso hashes of a usual decision.
CONTENT = "x" * 500
HASH = "0" * 64


def store() -> RawStore:
    """A connection of its own to the database, for one thread."""
    return RawPostgres() if connection.vendor == "postgresql" else RawSqlite()


class RawStore(ABC):
    """Two tables and the statements on them. Each deed is one committed transaction."""

    @abstractmethod
    def create(self) -> None:
        """Make the tables."""

    @abstractmethod
    def open(self, count: int) -> list[str]:
        """Rows to decide; their ids without dashes."""

    @abstractmethod
    def decide(self, id_: str) -> None: ...

    @abstractmethod
    def decide_set(self, ids: Sequence[str]) -> None:
        """All of them in one transaction, set-based."""

    @abstractmethod
    def statuses(self, ids: Sequence[str]) -> dict[str, str]: ...

    @abstractmethod
    def close(self) -> None: ...


_TABLES: LiteralString = """
    CREATE TABLE benchmark_request (
        id {uuid} PRIMARY KEY, status text NOT NULL DEFAULT 'pending', decided_by integer,
        comment text NOT NULL DEFAULT '', closed_at {time}, changed_at {time} NOT NULL
    );
    CREATE INDEX benchmark_request_changed ON benchmark_request (changed_at, id);
    CREATE TABLE benchmark_entry (
        id {serial}, request_id {uuid} NOT NULL REFERENCES benchmark_request, event text NOT NULL,
        outcome text NOT NULL, actor_id integer, recorded_at {time} NOT NULL, canonical text NOT NULL,
        hash text NOT NULL
    );
    CREATE INDEX benchmark_entry_of_request ON benchmark_entry (request_id);
"""

POSTGRES_DECIDE: LiteralString = """
    WITH decided AS (
        UPDATE benchmark_request
        SET status = 'approved', decided_by = 1, closed_at = now(), changed_at = now()
        WHERE id {which} AND status = 'pending' RETURNING id
    )
    INSERT INTO benchmark_entry (request_id, event, outcome, actor_id, recorded_at, canonical, hash)
    SELECT id, 'decided', 'approved', 1, now(), %s, %s FROM decided
"""
POSTGRES_DECIDE_ONE = POSTGRES_DECIDE.replace("{which}", "= %s")
POSTGRES_DECIDE_SET = POSTGRES_DECIDE.replace("{which}", "= ANY(%s::uuid[])")


def postgres_parameters() -> dict[str, Any]:
    """How psycopg reaches Django's database, with none of Django's own additions."""
    parameters = connection.get_connection_params()
    for name in ("cursor_factory", "context"):
        parameters.pop(name, None)
    return {**parameters, "autocommit": True}


def decide_arguments(which: Any) -> tuple[Any, ...]:
    """For POSTGRES_DECIDE_ONE and POSTGRES_DECIDE_SET."""
    return (which, CONTENT, HASH)


class RawPostgres(RawStore):
    def __init__(self) -> None:
        self._connection = psycopg.connect(**postgres_parameters())

    def create(self) -> None:
        tables = _TABLES.replace("{uuid}", "uuid").replace("{time}", "timestamptz")
        self._connection.execute(tables.replace("{serial}", "bigserial PRIMARY KEY"))

    def open(self, count: int) -> list[str]:
        ids = [uuid4().hex for _ in range(count)]
        self._connection.execute(
            "INSERT INTO benchmark_request (id, changed_at) SELECT unnest(%s::uuid[]), now()", [ids]
        )
        self._connection.execute("ANALYZE benchmark_request")
        return ids

    def decide(self, id_: str) -> None:
        self._connection.execute(POSTGRES_DECIDE_ONE, decide_arguments(id_))

    def decide_set(self, ids: Sequence[str]) -> None:
        self._connection.execute(POSTGRES_DECIDE_SET, decide_arguments(list(ids)))

    def statuses(self, ids: Sequence[str]) -> dict[str, str]:
        rows = self._connection.execute(
            "SELECT id, status FROM benchmark_request WHERE id = ANY(%s::uuid[])", [list(ids)]
        )
        return {id_.hex: status for id_, status in rows}

    def close(self) -> None:
        self._connection.close()


class RawSqlite(RawStore):
    def __init__(self) -> None:
        name = settings.DATABASES["default"]["NAME"]
        self._connection = sqlite3.connect(name, timeout=20, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            self._connection.execute(f"PRAGMA {pragma}")

    def create(self) -> None:
        tables = _TABLES.replace("{uuid}", "text").replace("{time}", "text")
        self._connection.executescript(tables.replace("{serial}", "integer PRIMARY KEY"))

    def open(self, count: int) -> list[str]:
        ids = [uuid4().hex for _ in range(count)]
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO benchmark_request (id, changed_at) VALUES (?, datetime('now'))",
                [(id_,) for id_ in ids],
            )
        return ids

    def decide(self, id_: str) -> None:
        self.decide_set([id_])

    def decide_set(self, ids: Sequence[str]) -> None:
        with self._transaction():
            self._connection.executemany(
                "UPDATE benchmark_request SET status = 'approved', decided_by = 1,"
                " closed_at = datetime('now'), changed_at = datetime('now')"
                " WHERE id = ? AND status = 'pending'",
                [(id_,) for id_ in ids],
            )
            self._connection.executemany(
                "INSERT INTO benchmark_entry"
                " (request_id, event, outcome, actor_id, recorded_at, canonical, hash)"
                " VALUES (?, 'decided', 'approved', 1, datetime('now'), ?, ?)",
                [(id_, CONTENT, HASH) for id_ in ids],
            )

    def statuses(self, ids: Sequence[str]) -> dict[str, str]:
        marks = ", ".join("?" * len(ids))
        rows = self._connection.execute(
            f"SELECT id, status FROM benchmark_request WHERE id IN ({marks})",  # noqa: S608  marks only
            list(ids),
        )
        return dict(rows.fetchall())

    def close(self) -> None:
        self._connection.close()

    def _transaction(self) -> sqlite3.Connection:
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection  # as a context manager it commits


def channel() -> str:
    return f"{settings.SAYSO_CHANNEL_PREFIX}.raw"


class RawWaiters:
    """Futures in a dictionary, resolved by what is published. On one event loop."""

    def __init__(self) -> None:
        self.heard: dict[str, int] = {}
        self._futures: dict[str, asyncio.Future[None]] = {}
        self._listening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if not settings.REDIS_URL:
            _here.append(self.hear)
            return
        client = redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_timeout=None)
        subscription = client.pubsub(ignore_subscribe_messages=False)
        await subscription.subscribe(channel())
        await subscription.get_message(timeout=5)  # that it is subscribed
        self._listening = asyncio.create_task(self._listen(subscription))

    async def stop(self) -> None:
        _here.clear()
        if self._listening:
            self._listening.cancel()
            with suppress(asyncio.CancelledError):
                await self._listening

    async def wait(self, id_: str) -> None:
        future = self._futures[id_] = asyncio.get_running_loop().create_future()
        await future

    def hear(self, text: str) -> None:
        now = monotonic_ns()
        for id_ in text.split(","):
            future = self._futures.pop(id_, None)
            if future and not future.done():
                self.heard[id_] = now
                future.set_result(None)

    async def _listen(self, subscription: Any) -> None:
        async for message in subscription.listen():
            if message["type"] == "message":
                self.hear(message["data"].decode())


def publisher() -> Callable[[str], object]:
    """Publishes ids, with commas between them, to all RawWaiters. On the loop's own thread."""
    if settings.REDIS_URL:
        client = redis.Redis.from_url(settings.REDIS_URL)
        name = channel()
        return lambda text: client.publish(name, text)
    return lambda text: [asyncio.get_running_loop().call_soon(hear, text) for hear in _here]


_here: list[Callable[[str], None]] = []
