"""The baseline: the least that recording a decision and telling another process of it can cost.

A conditional UPDATE and an INSERT in one statement and one commit, by the bare database driver, on two small
tables; a bare Redis publish; a future in a dictionary. No permissions, validation, hash chain, deadline, ORM.
On SQLite, and without Redis, the same with what there is. Beside it, what most Django projects would write.

In a paired comparison, Sayso and others decide the same in turns, while another process waits (`Paired`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic_ns
from typing import Any, LiteralString, TypeAlias
from uuid import uuid4

import psycopg
import redis
import redis.asyncio
from django.conf import settings
from django.db import connection, models, transaction
from django.utils import timezone

from approvals.database.threads import in_database
from orchestration.benchmark.load import PAUSE, SAYSO, Calls, Decider, Waiter, Waits, note_hints, note_reads
from orchestration.benchmark.report import Check
from orchestration.conf import orchestration_settings

FLOOR, POLLING = "raw floor", "polling"
POLL_EVERY = 0.2

STATUS = "approved"

# As long as the text that Sayso hashes for a usual decision.
CONTENT = "x" * 500
HASH = "0" * 64

Id: TypeAlias = str
"""Without dashes."""
Moments: TypeAlias = list[tuple[int | None, int | None, int | None]]
"""When each was heard of, read, and its waiter resumed; None: never."""

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
# SQLite can't do both in one statement.
_UPDATE = """
    UPDATE benchmark_request
    SET status = 'approved', decided_by = 1, closed_at = datetime('now'), changed_at = datetime('now')
    WHERE id = ? AND status = 'pending'
"""
_INSERT = f"""
    INSERT INTO benchmark_entry (request_id, event, outcome, actor_id, recorded_at, canonical, hash)
    VALUES (?, 'decided', 'approved', 1, datetime('now'), '{CONTENT}', '{HASH}')
"""  # noqa: S608


def _model(name: str, **fields: Any) -> Any:
    """Make a Django model of one of the tables."""
    index = models.Index(fields=["changed_at", "id"], name="benchmark_request_changed")
    indexes = [index] if name == "request" else []
    options = {"app_label": "benchmark", "db_table": f"benchmark_{name}", "indexes": indexes}
    return type(name, (models.Model,), {"__module__": __name__, "Meta": type("Meta", (), options), **fields})


Request = _model(
    "request",
    id=models.UUIDField(primary_key=True),
    status=models.TextField(default="pending"),
    decided_by=models.IntegerField(null=True),
    comment=models.TextField(default=""),
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


def create_tables() -> None:
    with connection.schema_editor() as editor:
        editor.create_model(Request)
        editor.create_model(Entry)


def open_requests(count: int) -> list[Id]:
    """Insert `count` pending rows; returns their ids."""
    now = timezone.now()
    rows = Request.objects.bulk_create([Request(id=uuid4(), changed_at=now) for _ in range(count)])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE benchmark_request")
    return [row.id.hex for row in rows]


def recorded() -> dict[Id, str]:
    """Return the status of every row."""
    return {id_.hex: status for id_, status in Request.objects.values_list("id", "status")}


def decide_in_django(id_: Id) -> None:
    """Decide as most Django projects would: by the plain ORM, in a transaction of its own."""
    now = timezone.now()
    with transaction.atomic():
        changed = Request.objects.filter(pk=id_, status="pending").update(
            status=STATUS, decided_by=1, closed_at=now, changed_at=now
        )
        if changed:
            entry = {"outcome": STATUS, "actor_id": 1, "canonical": CONTENT, "hash": HASH}
            Entry.objects.create(request_id=id_, event="decided", recorded_at=now, **entry)


def postgres_parameters() -> dict[str, Any]:
    """Return how psycopg reaches Django's database, with none of Django's own additions."""
    parameters = connection.get_connection_params()
    for name in ("cursor_factory", "context"):
        parameters.pop(name, None)
    return {**parameters, "autocommit": True}


def open_driver() -> Any:
    """Connect to Django's database by its bare driver, psycopg or sqlite3. Not on a loop's thread."""
    if connection.vendor == "postgresql":
        return psycopg.connect(**postgres_parameters())
    same = connection.copy()
    return same.get_new_connection(same.get_connection_params())


class Driver:
    """Decides rows by the bare driver, each call a committed transaction. Made off the loop's thread."""

    def __init__(self) -> None:
        self._driver = open_driver()
        self.execute, self.close = self._driver.execute, self._driver.close
        self._postgresql = connection.vendor == "postgresql"

    def decide(self, id_: Id) -> None:
        if self._postgresql:
            self.execute(DECIDE_ONE, (id_, CONTENT, HASH))
        else:
            self.decide_set([id_])

    def decide_set(self, ids: list[Id]) -> None:
        """Decide all of them in one statement; on SQLite, in one transaction."""
        if self._postgresql:
            self.execute(DECIDE_SET, (ids, CONTENT, HASH))
            return
        self.execute("BEGIN IMMEDIATE")
        with self._driver:  # commits
            for statement in (_UPDATE, _INSERT):
                self._driver.executemany(statement, [(id_,) for id_ in ids])

    def status(self, id_: Id) -> str:
        mark = "%s" if self._postgresql else "?"
        rows = self.execute(f"SELECT status FROM benchmark_request WHERE id = {mark}", (id_,))  # noqa: S608
        return str(rows.fetchone()[0])


def channel() -> str:
    """Return the name of the Redis channel, and of the channel layer's group."""
    return f"{orchestration_settings().channel_prefix}.baseline"


class Futures:
    """Futures in a dictionary, resolved by the ids that are published. On one event loop."""

    def __init__(self) -> None:
        self.heard: dict[Id, int] = {}
        self._futures: dict[Id, asyncio.Future[str]] = {}

    async def start(self) -> None:
        if not settings.REDIS_URL:
            _here.append(self.hear)
            return
        client = redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_timeout=None)
        subscription = client.pubsub(ignore_subscribe_messages=False)
        await subscription.subscribe(channel())
        await subscription.get_message(timeout=5)  # that it is subscribed
        self._listening = asyncio.create_task(self._listen(subscription))

    async def wait(self, id_: Id) -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._futures[id_] = future
        return await future

    def hear(self, id_: Id) -> None:
        """Resolve the future of this id, and note when."""
        future = self._futures.pop(id_, None)
        if future and not future.done():
            self.heard[id_] = monotonic_ns()
            future.set_result(STATUS)

    async def _listen(self, subscription: Any) -> None:
        async for message in subscription.listen():
            if message["type"] == "message":
                self.hear(message["data"].decode())


def publisher() -> Callable[[Id], object]:
    """Return a function that publishes an id to all Futures. On the loop's own thread."""
    if settings.REDIS_URL:
        client, name = redis.Redis.from_url(settings.REDIS_URL), channel()
        return lambda id_: client.publish(name, id_)
    return lambda id_: [asyncio.get_running_loop().call_soon(hear, id_) for hear in _here]


_here: list[Callable[[Id], None]] = []


class PairedWaiter(Waiter):
    """Waits in Sayso's waiting room, on bare futures, or by asking the database again and again."""

    async def begin(self) -> None:
        await super().begin()
        self.futures = Futures()
        await self.futures.start()
        self._driver = await in_database(Driver)
        self._hints, self._reads = note_hints(), note_reads()
        self._on_futures, self._polling = Waits(self.futures.wait), Waits(self._poll)

    async def wait_for(self, contender: str, ids: list[str]) -> None:
        await (self.wait(ids) if contender == SAYSO else self._waits_of(contender).begin(ids))

    async def moments(self, contender: str, ids: list[str]) -> Moments:
        """Wait until these waits have ended or are lost; return when each was hinted, read and resumed."""
        waits = self._waits_of(contender)
        await waits.finish(ids)
        heard = self._hints if contender == SAYSO else self.futures.heard
        return [(heard.get(id_), self._reads.get(id_), waits.resumed.get(id_)) for id_ in ids]

    async def told(self, ids: list[str] | None = None) -> list[tuple[str, str]]:
        return await super().told(ids) + self._on_futures.told + self._polling.told

    def _waits_of(self, contender: str) -> Waits:
        return {SAYSO: self._waits, POLLING: self._polling}.get(contender, self._on_futures)

    async def _poll(self, id_: str) -> str:
        while (status := self._driver.status(id_)) == "pending":  # noqa: ASYNC110
            await asyncio.sleep(POLL_EVERY)
        return status


class PairedDecider(Decider):
    """Decides in the baseline's tables, too."""

    async def begin(self) -> None:
        await super().begin()
        self.driver = await in_database(Driver)
        self.publish = publisher()
        self.ways |= {FLOOR: self._decide_on_floor, POLLING: self._decide_row}

    async def open_baseline(self, count: int) -> list[str]:
        """Make the baseline's tables with `count` pending rows; returns their ids."""
        await in_database(create_tables)
        return await in_database(open_requests, count)

    async def recorded_baseline(self, ids: list[str]) -> dict[str, str]:
        rows = await in_database(recorded)
        return {id_: rows[id_] for id_ in ids}

    async def _decide_row(self, id_: Id) -> int:
        self.driver.decide(id_)
        return monotonic_ns()

    async def _decide_on_floor(self, id_: Id) -> int:
        committed = await self._decide_row(id_)
        self.publish(id_)
        return committed


class Paired:
    """Decides requests and rows of the baseline block by block, and checks all waits in the end."""

    def __init__(self, waiter: PairedWaiter, decider: PairedDecider) -> None:
        self._waiter, self._decider = waiter, decider

    async def open(self, requests: int, rows: int) -> None:
        self._left = {True: await self._waiter.open(requests), False: await self._decider.open_baseline(rows)}
        self._waited: dict[bool, list[str]] = {True: [], False: []}

    def take(self, count: int, *, sayso: bool) -> list[str]:
        """Return the ids of `count` requests or rows that are not decided yet."""
        left = self._left[sayso]
        if len(left) < count:
            raise RuntimeError("fewer requests were opened than are decided")
        self._left[sayso] = left[count:]
        return left[:count]

    async def block(
        self, contender: str, count: int, callers: int = 1, pause: float = PAUSE
    ) -> tuple[Calls, Moments]:
        """Have `count` of them waited for and decided in this contender's way."""
        ids = self.take(count, sayso=contender == SAYSO)
        self._waited[contender == SAYSO] += ids
        await self._waiter.wait_for(contender, ids)
        calls = await self._decider.decide(ids, contender, callers, pause)
        return calls, await self._waiter.moments(contender, ids)

    async def check(self) -> Check:
        recorded = await self._decider.recorded(self._waited[True])
        recorded |= await self._decider.recorded_baseline(self._waited[False])
        return Check.of(await self._waiter.told(self._waited[True]), recorded)
