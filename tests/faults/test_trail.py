"""Fault 12: somebody changes the trail by SQL. The database refuses, or verification names the entry.

What is on record was put there by real processes; the client knows nothing of this installation's code.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from approvals import deciding
from approvals.models import AuditEntry, HumanRequest
from approvals.trail import verification
from tests import factories
from tests.conftest import Manage
from tests.database_roles import SUPERUSER, url_as
from tests.stacks import Stack

pytestmark = pytest.mark.django_db

TABLE = "approvals_auditentry"
CONTENT = "approvals_showncontent"


class Client(ABC):
    """A connection to the installation's database, with nothing between."""

    refusals: tuple[type[Exception], ...]

    @abstractmethod
    def run(self, *statements: str) -> None:
        """Run these in one transaction."""

    @abstractmethod
    def run_past_triggers(self, *statements: str) -> None:
        """As only the owner or a superuser can; afterwards everything looks as before."""

    @abstractmethod
    def entries(self) -> list[Sequence[Any]]: ...


class SqliteClient(Client):
    refusals = (sqlite3.DatabaseError,)

    def __init__(self, stack: Stack) -> None:
        self._file = Path(stack.environment["SAYSO_VAR"]) / "sayso.sqlite3"

    def run(self, *statements: str) -> None:
        with closing(sqlite3.connect(self._file, timeout=20)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    def run_past_triggers(self, *statements: str) -> None:
        """The triggers are dropped and made again."""
        with closing(sqlite3.connect(self._file, timeout=20)) as connection, connection:
            triggers = connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", [TABLE]
            ).fetchall()
            assert triggers
            names, definitions = zip(*triggers, strict=True)
            for statement in (*(f"DROP TRIGGER {name}" for name in names), *statements, *definitions):
                connection.execute(statement)

    def entries(self) -> list[Sequence[Any]]:
        with closing(sqlite3.connect(self._file, timeout=20)) as connection:
            return connection.execute(f"SELECT * FROM {TABLE} ORDER BY id").fetchall()


class PostgresClient(Client):
    refusals = (psycopg.DatabaseError,)

    def __init__(self, stack: Stack) -> None:
        self._url = url_as(SUPERUSER, stack.environment["DATABASE_URL"])

    def run(self, *statements: str) -> None:
        with psycopg.connect(self._url) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def run_past_triggers(self, *statements: str) -> None:
        """A superuser's session may say that it only replays what has been checked elsewhere."""
        self.run("SET LOCAL session_replication_role = replica", *statements)

    def entries(self) -> list[Sequence[Any]]:
        with psycopg.connect(self._url) as connection:
            return list(connection.execute(f"SELECT * FROM {TABLE} ORDER BY id".encode()).fetchall())


@pytest.fixture
def client(stack: Stack) -> Client:
    return SqliteClient(stack) if stack.engine == "sqlite" else PostgresClient(stack)


@pytest.fixture
def decided(manage: Manage) -> HumanRequest:
    """A request that a command has decided."""
    ada = factories.user("ada")
    request_id = factories.approval(assignees=[ada], arguments={"order": 812})
    process = manage("decide", request_id, "approve", "--as", "ada", "--comment", "fine")
    assert process.wait() == 0, process.output.text
    row: HumanRequest = HumanRequest.objects.get(pk=request_id)
    assert (row.trail_length, _named(row)) == (2, None)
    return row


def test_entries_are_neither_changed_nor_deleted_nor_replaced(
    client: Client, decided: HumanRequest, stack: Stack
) -> None:
    """Fault 12. Whatever the statement: it is refused, and not one row is another."""
    before = client.entries()
    for statement in _damages(stack.engine):
        with pytest.raises(client.refusals):
            client.run(statement)
        assert (statement, client.entries()) == (statement, before)
    assert _named(decided) is None


def test_a_second_outcome_is_refused(client: Client, decided: HumanRequest) -> None:
    """Fault 12. Another entry that says how the request ended can't even be added."""
    before = client.entries()
    with pytest.raises(client.refusals):
        client.run(_added(decided, event="decided", outcome="rejected"))
    assert client.entries() == before


def test_a_changed_entry_is_named(client: Client) -> None:
    """Fault 12. Past the triggers: any column, or the text that was hashed."""
    other = factories.user()
    for column, value in _changes(other.pk).items():
        row = _decided()
        client.run_past_triggers(f"UPDATE {TABLE} SET {column} = {value} WHERE {_is(row, 2)}")
        named, *_ = verification.verify_request(row.pk)
        assert (column, named.request_id, named.sequence) == (column, row.pk, 2)


def test_a_deleted_entry_is_named(client: Client) -> None:
    """Fault 12. The first, and the last, behind which there is none to miss it."""
    for sequence in (1, 2):
        row = _decided()
        client.run_past_triggers(
            f"DELETE FROM {CONTENT} WHERE entry_id = (SELECT id FROM {TABLE} WHERE {_is(row, sequence)})",
            f"DELETE FROM {TABLE} WHERE {_is(row, sequence)}",
        )
        assert _named(row) == (sequence, "missing entry")


def test_a_table_that_was_emptied_is_noticed(client: Client, decided: HumanRequest) -> None:
    """Fault 12. Request by request: each knows how long its trail is."""
    client.run_past_triggers(f"DELETE FROM {CONTENT}", f"DELETE FROM {TABLE}")
    assert {_named(row) for row in HumanRequest.objects.all()} == {(None, "missing chain")}


def test_a_forged_entry_is_named(client: Client, decided: HumanRequest) -> None:
    """Fault 12. One that is well made, hash and all, and added behind the last: no trigger can tell."""
    client.run(_added(decided, event="viewed", outcome=""))
    assert _named(decided) == (3, "surplus entry")


def test_an_entry_forged_with_its_hash_is_named(client: Client) -> None:
    """Fault 12. The link behind it disagrees; behind the last one that is the request."""
    for sequence, named in ((1, (2, "changed entry")), (2, (2, "changed entry"))):
        row = _decided()
        text, digest = _hashed(_said(row, sequence) | {"address": "10.0.0.1"})
        client.run_past_triggers(
            f"UPDATE {TABLE} SET address = '10.0.0.1', canonical = '{text}', hash = '{digest}'"
            f" WHERE {_is(row, sequence)}"
        )
        assert _named(row) == named


def test_other_trails_hold(client: Client, decided: HumanRequest) -> None:
    """Fault 12. What is wrong is named exactly: this request and no other."""
    _decided()
    client.run_past_triggers(f"UPDATE {TABLE} SET event = 'viewed' WHERE {_is(decided, 1)}")
    assert [row.pk for row in HumanRequest.objects.all() if _named(row)] == [decided.pk]


def _decided() -> HumanRequest:
    """A request with two entries: opened, decided."""
    request_id = factories.approval(arguments={"order": 812})
    deciding.decide(factories.actor(factories.reviewer()), request_id, "approve")
    row: HumanRequest = HumanRequest.objects.get(pk=request_id)
    assert (row.trail_length, _named(row)) == (2, None)
    return row


def _named(row: HumanRequest) -> tuple[int | None, str] | None:
    found = verification.verify_request(row.pk)
    return (found[0].sequence, found[0].kind) if found else None


def _is(row: HumanRequest, sequence: int) -> str:
    return f"id = {AuditEntry.objects.get(request=row, sequence=sequence).pk}"


def _damages(engine: str) -> Iterator[str]:
    """What a client may try on the whole table."""
    yield f"UPDATE {TABLE} SET event = 'viewed'"
    yield f"UPDATE {TABLE} SET hash = hash"
    yield f"DELETE FROM {TABLE}"
    yield f"INSERT INTO {TABLE} SELECT * FROM {TABLE}"
    upsert = "ON CONFLICT (id) DO UPDATE SET event = 'viewed'"
    yield f"INSERT INTO {TABLE} SELECT * FROM {TABLE} WHERE true {upsert}"
    if engine == "sqlite":
        yield f"UPDATE OR REPLACE {TABLE} SET event = 'viewed'"
        yield f"INSERT OR REPLACE INTO {TABLE} SELECT * FROM {TABLE}"
        yield f"REPLACE INTO {TABLE} SELECT * FROM {TABLE}"
    else:
        yield f"TRUNCATE {TABLE} CASCADE"
        yield f"TRUNCATE {CONTENT}, {TABLE}"
        yield f"DELETE FROM ONLY {TABLE} USING {CONTENT}"
        yield f"WITH gone AS (DELETE FROM {TABLE} RETURNING id) SELECT count(*) FROM gone"
        yield f"MERGE INTO {TABLE} USING {CONTENT} ON entry_id = id WHEN MATCHED THEN DELETE"


def _changes(other: int) -> dict[str, str]:
    """Columns of an entry, and what each may be changed to; `other` is a user's id."""
    return {
        "event": "'viewed'",
        "outcome": "'rejected'",
        "actor_id": str(other),
        "on_behalf_of_id": str(other),
        "channel": "'admin'",
        "address": "'10.0.0.1'",
        "user_agent": "'another'",
        "allowed_by": "'superuser'",
        "recorded_at": "'2026-01-01 00:00:00+00:00'",
        "content_hash": f"'{'0' * 64}'",
        "previous_hash": f"'{'0' * 64}'",
        "hash": f"'{'0' * 64}'",
        "canonical": "replace(canonical, 'approved', 'rejected')",
        "format": "1",
    }


def _said(row: HumanRequest, sequence: int) -> dict[str, Any]:
    """What this entry's hashed text says."""
    said: dict[str, Any] = json.loads(AuditEntry.objects.get(request=row, sequence=sequence).canonical)
    return said


def _hashed(said: dict[str, Any]) -> tuple[str, str]:
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text, hashlib.sha256(text.encode()).hexdigest()


def _added(row: HumanRequest, *, event: str, outcome: str) -> str:
    """A copy of the last entry behind it, as the writer would have linked it."""
    length = row.trail_length
    following = {"sequence": length + 1, "previous": row.trail_head, "event": event, "outcome": outcome}
    text, digest = _hashed(_said(row, length) | following)
    kept = (
        "request_id, actor_id, on_behalf_of_id, channel, token_id, address, user_agent, allowed_by,"
        " recorded_at, content_hash, format"
    )
    return (
        f"INSERT INTO {TABLE} ({kept}, sequence, previous_hash, event, outcome, canonical, hash)"
        f" SELECT {kept}, {length + 1}, hash, '{event}', '{outcome}', '{text}', '{digest}'"
        f" FROM {TABLE} WHERE {_is(row, length)}"
    )
