"""Statements that go to the database together, and are planned once.

PostgreSQL gets all that is asked together in one message, and keeps the plan of each statement for as long as
the connection lives (PREPARE): the ways to and fro and the planning take longer than most statements do.
SQLite has neither; there each is carried out when it is asked.

A pooler that gives each transaction another connection can't have PREPARE: `prepare_threshold` None in the
database's OPTIONS (`?prepare_threshold=none` in its URL) does without.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import count
from threading import local
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.db import connection


class Answer:
    """What a statement has come to. Looking at it sends what is asked together, unless that has been done."""

    def __init__(self, message: _Message) -> None:
        self._message = message
        self._rows: list[tuple[Any, ...]] = []
        self._count = 0

    def rows(self) -> list[tuple[Any, ...]]:
        self._message.send()
        return self._rows

    def count(self) -> int:
        """How many rows it found or changed."""
        self._message.send()
        return self._count

    def take(self, cursor: Any, statement: str) -> None:
        """Keep what the cursor has now."""
        self._count = cursor.rowcount
        if statement.startswith("SELECT"):
            self._rows = cursor.fetchall()


class _Message:
    """Statements on their way."""

    def __init__(self) -> None:
        self._asked: list[tuple[str, Sequence[Any], Answer]] = []

    def ask(self, statement: str, parameters: Sequence[Any]) -> Answer:
        answer = Answer(self)
        self._asked.append((statement, parameters, answer))
        return answer

    def send(self) -> None:
        """Have all carried out that has not been, in order, each as a statement of its own."""
        asked, self._asked = self._asked, []
        if not asked:
            return
        texts = _executions([statement for statement, _, _ in asked])
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.cursor.adapters.register_loader("timestamptz", _moments())
            cursor.execute(";".join(texts), [one for _, parameters, _ in asked for one in parameters])
            for number, (statement, _, answer) in enumerate(asked):
                if number:
                    cursor.nextset()
                answer.take(cursor, statement)


class _Here(local):
    """The message that this thread is putting together."""

    message: _Message | None = None


_here = _Here()
_numbers = count(1)
_prepared: WeakKeyDictionary[Any, dict[str, str]] = WeakKeyDictionary()


@contextmanager
def together() -> Iterator[None]:
    """Send what is asked inside as one message: at the end, or when one of the answers is looked at.

    What is done inside in other ways, by the ORM for instance, is done before it. Within another message, it
    is part of that.
    """
    if connection.vendor != "postgresql" or _here.message is not None:
        yield
        return
    _here.message = message = _Message()
    try:
        yield
        message.send()
    finally:
        _here.message = None


def execute(statement: str, parameters: Sequence[Any] = ()) -> Answer:
    """Carry out a statement whose text is always the same; only its parameters (%s) differ."""
    if _here.message is not None:
        return _here.message.ask(statement, parameters)
    message = _Message()
    answer = message.ask(statement, parameters)
    message.send()
    return answer


def execute_for_each(statement: str, parameters: Sequence[Sequence[Any]]) -> Answer:
    """Carry out a statement once for each of these parameters (SQLite)."""
    answer = Answer(_Message())
    with connection.cursor() as cursor:
        cursor.executemany(statement, parameters)
        answer.take(cursor, statement)
    return answer


def limit_transaction_time() -> None:
    """Have PostgreSQL end this transaction rather than let it, or whoever waits for its locks, take long.

    All together shorter than the overlap of the re-check: what a transaction stamped is found by it.
    """
    if connection.vendor == "postgresql":
        execute(
            "SELECT set_config('lock_timeout', '2s', true), set_config('statement_timeout', '5s', true),"
            " set_config('idle_in_transaction_session_timeout', '5s', true)"
        )


@cache
def _moments() -> Any:
    """psycopg's own loader, which is compiled. Django puts one in Python before it, to no effect where
    connections are in UTC, as ours are."""
    return psycopg.adapters.get_loader(psycopg.adapters.types["timestamptz"].oid, psycopg.pq.Format.TEXT)


def _executions(statements: Sequence[str]) -> list[str]:
    if connection.vendor != "postgresql":
        return list(statements)
    connection.ensure_connection()
    if connection.connection.prepare_threshold is None:
        return list(statements)
    known = _prepared.setdefault(connection.connection, {})
    _prepare(known, [statement for statement in dict.fromkeys(statements) if statement not in known])
    return [f"EXECUTE {known[statement]}{_places(statement.count('%s'))}" for statement in statements]


def _prepare(known: dict[str, str], statements: Sequence[str]) -> None:
    if not statements:
        return
    names = {statement: f"sayso_{next(_numbers)}" for statement in statements}
    with connection.cursor() as cursor:
        cursor.execute(
            ";".join(f"PREPARE {name} AS {_number_parameters(one)}" for one, name in names.items())
        )
    known.update(names)


def _number_parameters(statement: str) -> str:
    first, *others = statement.split("%s")
    return first + "".join(f"${number}{rest}" for number, rest in enumerate(others, 1))


def _places(number: int) -> str:
    return f" ({', '.join(['%s'] * number)})" if number else ""
