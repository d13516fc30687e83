"""The baseline: the least that recording a decision and telling another process of it can be.

A conditional UPDATE and an INSERT in one statement and one commit, by the bare database driver, on two small
tables; a bare Redis publish; a future in a dictionary. No permissions, validation, hash chain, deadline, ORM.
On SQLite, and without Redis, the same with what there is. And what most Django projects would write.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Collection
from contextlib import suppress
from time import monotonic_ns
from typing import Any, LiteralString, TypeAlias
from uuid import uuid4

import psycopg
import redis
import redis.asyncio
from django.conf import settings
from django.db import connection, models, transaction
from django.utils import timezone

STATUS = "approved"

# As long as what Sayso hashes of a usual decision.
CONTENT = "x" * 500
HASH = "0" * 64

Id: TypeAlias = str
"""Without dashes."""

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

_DECIDE: LiteralString = """
    WITH decided AS (
        UPDATE benchmark_request
        SET status = 'approved', decided_by = 1, closed_at = now(), changed_at = now()
        WHERE id {which} AND status = 'pending' RETURNING id
    )
    INSERT INTO benchmark_entry (request_id, event, outcome, actor_id, recorded_at, canonical, hash)
    SELECT id, 'decided', 'approved', 1, now(), %s, %s FROM decided
"""
DECIDE_ONE = _DECIDE.replace("{which}", "= %s")
DECIDE_SET = _DECIDE.replace("{which}", "= ANY(%s::uuid[])")


def postgres_parameters() -> dict[str, Any]:
    """Return how psycopg reaches Django's database, with none of Django's own additions."""
    parameters = connection.get_connection_params()
    for name in ("cursor_factory", "context"):
        parameters.pop(name, None)
    return {**parameters, "autocommit": True}


def store() -> Postgres | Sqlite:
    """Connect to the database, for one thread."""
    return Postgres() if connection.vendor == "postgresql" else Sqlite()


class Postgres:
    """Two tables and the statements on them, each a committed transaction."""

    def __init__(self) -> None:
        self._connection = psycopg.connect(**postgres_parameters())
        self.close = self._connection.close

    def create(self) -> None:
        tables = _TABLES.replace("{uuid}", "uuid").replace("{time}", "timestamptz")
        self._connection.execute(tables.replace("{serial}", "bigserial PRIMARY KEY"))

    def open(self, count: int) -> list[Id]:
        """Insert so many rows to decide."""
        ids = [uuid4().hex for _ in range(count)]
        self._connection.execute(
            "INSERT INTO benchmark_request (id, changed_at) SELECT unnest(%s::uuid[]), now()", [ids]
        )
        self._connection.execute("ANALYZE benchmark_request")
        return ids

    def decide(self, id_: Id) -> None:
        self._connection.execute(DECIDE_ONE, (id_, CONTENT, HASH))

    def decide_set(self, ids: list[Id]) -> None:
        """Decision all of them in one statement."""
        self._connection.execute(DECIDE_SET, (ids, CONTENT, HASH))

    def statuses(self, ids: Collection[Id]) -> dict[Id, str]:
        rows = self._connection.execute(
            "SELECT id, status FROM benchmark_request WHERE id = ANY(%s::uuid[])", [list(ids)]
        )
        return {id_.hex: status for id_, status in rows}


class Sqlite:
    """The same on SQLite."""

    def __init__(self) -> None:
        name = settings.DATABASES["default"]["NAME"]
        self._connection = sqlite3.connect(name, timeout=20, isolation_level=None, check_same_thread=False)
        self.close = self._connection.close
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            self._connection.execute(f"PRAGMA {pragma}")

    def create(self) -> None:
        tables = _TABLES.replace("{uuid}", "text").replace("{time}", "text")
        self._connection.executescript(tables.replace("{serial}", "integer PRIMARY KEY"))

    def open(self, count: int) -> list[Id]:
        ids = [uuid4().hex for _ in range(count)]
        self._write(ids, "INSERT INTO benchmark_request (id, changed_at) VALUES (?, datetime('now'))")
        return ids

    def decide(self, id_: Id) -> None:
        self.decide_set([id_])

    def decide_set(self, ids: list[Id]) -> None:
        self._write(
            ids,
            "UPDATE benchmark_request SET status = 'approved', decided_by = 1, closed_at = datetime('now'),"
            " changed_at = datetime('now') WHERE id = ? AND status = 'pending'",
            "INSERT INTO benchmark_entry (request_id, event, outcome, actor_id, recorded_at, canonical, hash)"  # noqa: S608
            f" VALUES (?, 'decided', 'approved', 1, datetime('now'), '{CONTENT}', '{HASH}')",
        )

    def statuses(self, ids: Collection[Id]) -> dict[Id, str]:
        rows = self._connection.execute(
            "SELECT id, status FROM benchmark_request WHERE id IN (SELECT value FROM json_each(?))",
            [json.dumps(list(ids))],
        )
        return dict(rows.fetchall())

    def _write(self, ids: list[Id], *statements: str) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:  # commits
            for statement in statements:
                self._connection.executemany(statement, [(id_,) for id_ in ids])


def channel() -> str:
    """Return the name of the Redis channel, and of the channel layer's group."""
    return f"{settings.SAYSO_CHANNEL_PREFIX}.baseline"


class Futures:
    """Futures in a dictionary, resolved by what is published. On one event loop."""

    def __init__(self) -> None:
        self.heard: dict[Id, int] = {}
        self._futures: dict[Id, asyncio.Future[str]] = {}
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

    async def wait(self, id_: Id) -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._futures[id_] = future
        return await future

    def hear(self, text: str) -> None:
        """Resolve the futures of these ids, which have commas between them."""
        now = monotonic_ns()
        for id_ in text.split(","):
            future = self._futures.pop(id_, None)
            if future and not future.done():
                self.heard[id_] = now
                future.set_result(STATUS)

    async def _listen(self, subscription: Any) -> None:
        async for message in subscription.listen():
            if message["type"] == "message":
                self.hear(message["data"].decode())


def publisher() -> Callable[[str], object]:
    """Return what publishes ids, with commas between them, to all Futures. On the loop's own thread."""
    if settings.REDIS_URL:
        client = redis.Redis.from_url(settings.REDIS_URL)
        name = channel()
        return lambda text: client.publish(name, text)
    return lambda text: [asyncio.get_running_loop().call_soon(hear, text) for hear in _here]


_here: list[Callable[[str], None]] = []


def _model(name: str, **fields: Any) -> Any:
    """Make a Django model of one of the tables."""
    options = {"managed": False, "app_label": "benchmark", "db_table": f"benchmark_{name}"}
    return type(name, (models.Model,), {"__module__": __name__, "Meta": type("Meta", (), options), **fields})


Request = _model(
    "request",
    id=models.UUIDField(primary_key=True),
    status=models.TextField(),
    decided_by=models.IntegerField(null=True),
    closed_at=models.DateTimeField(null=True),
    changed_at=models.DateTimeField(),
)
Entry = _model(
    "entry",
    id=models.BigAutoField(primary_key=True),
    request=models.ForeignKey(Request, on_delete=models.DO_NOTHING),
    **{name: models.TextField() for name in ("event", "outcome", "canonical", "hash")},
    actor_id=models.IntegerField(null=True),
    recorded_at=models.DateTimeField(),
)


def decide_in_django(id_: Id) -> None:
    """Decision as most Django projects would: by the plain ORM, in a transaction of its own."""
    now = timezone.now()
    with transaction.atomic():
        changed = Request.objects.filter(pk=id_, status="pending").update(
            status=STATUS, decided_by=1, closed_at=now, changed_at=now
        )
        if changed:
            entry = {"outcome": STATUS, "actor_id": 1, "canonical": CONTENT, "hash": HASH}
            Entry.objects.create(request_id=id_, event="decided", recorded_at=now, **entry)
