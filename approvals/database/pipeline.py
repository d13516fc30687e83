"""Send several statements to the database in one message, and have each planned only once.

PostgreSQL keeps the plan of each statement for as long as the connection lives (PREPARE): round trips and
planning take longer than most statements do. SQLite needs neither; there each statement runs at once.

PREPARE does not work with a pooler that gives each transaction another connection: switch it off with
`prepare_threshold` None in the database's OPTIONS (`?prepare_threshold=none` in its URL).
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
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from approvals.database import lending
from approvals.database.sessions import LIMITS, is_limited
from approvals.database.transactions import begun_inside, snapshot


class Answer:
    """The result of a statement. Reading it sends the message that the statement is part of, if need be."""

    def __init__(self, message: _Message) -> None:
        self._message = message
        self._rows: list[tuple[Any, ...]] = []

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the rows of a statement that returns some."""
        self._message.send()
        return self._rows

    def take(self, cursor: Any) -> None:
        """Store the rows of what returns some."""
        if cursor.description is not None:
            self._rows = cursor.fetchall()


class _Message:
    """Statements that are sent together."""

    def __init__(self) -> None:
        self._asked: list[tuple[str, Sequence[Any], Answer]] = []

    def ask(self, statement: str, parameters: Sequence[Any]) -> Answer:
        answer = Answer(self)
        self._asked.append((statement, parameters, answer))
        return answer

    def send(self) -> None:
        """Run all statements that were not run yet, in order."""
        asked, self._asked = self._asked, []
        if not asked:
            return
        here = connections[DEFAULT_DB_ALIAS]
        texts = _executions(here, [statement for statement, _, _ in asked])
        with here.cursor() as cursor, here.wrap_database_errors:
            results = cursor.cursor  # Django's own wraps each call
            if here.vendor == "postgresql":
                results.adapters.register_loader("timestamptz", _moments())
            cursor.execute(";".join(texts), [one for _, parameters, _ in asked for one in parameters])
            for number, (_, _, answer) in enumerate(asked):
                if number:
                    results.nextset()
                answer.take(results)


class _Here(local):
    """The message that this thread is collecting."""

    message: _Message | None = None


_here = _Here()
_BEGIN, _COMMIT = "BEGIN", "COMMIT"
_BEGIN_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_OF_TRANSACTIONS = {statement: statement for statement in (_BEGIN, _BEGIN_SNAPSHOT, _COMMIT)}
_numbers = count(1)
_prepared: WeakKeyDictionary[Any, dict[str, str]] = WeakKeyDictionary()


@contextmanager
def together() -> Iterator[None]:
    """Send the statements executed inside as one message: at the end, or when one of the results is read.

    Other queries made inside, such as the ORM's, run before it. Nested blocks are part of the outer message.
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


@contextmanager
def together_in_a_snapshot() -> Iterator[None]:
    """Do as `together` does, and read everything inside as of one moment, as `snapshot` does.

    Its BEGIN goes with the first statements, so that other queries may be made only after an answer was read;
    COMMIT goes with the last, if there are any whose answers were not read.
    """
    if connection.vendor != "postgresql" or connection.in_atomic_block:
        with snapshot(), together():
            yield
        return
    with begun_inside(), together():
        execute(_BEGIN_SNAPSHOT)
        yield
        execute(_COMMIT)


def execute(statement: str, parameters: Sequence[Any] = ()) -> Answer:
    """Run a statement, now or with the message being collected; only its parameters (%s) may vary."""
    if _here.message is not None:
        return _here.message.ask(statement, parameters)
    message = _Message()
    answer = message.ask(statement, parameters)
    message.send()
    return answer


def execute_for_each(statement: str, parameters: Sequence[Sequence[Any]]) -> int:
    """Run a statement once for each of these lists of parameters (SQLite); return how many rows changed."""
    with connection.cursor() as cursor:
        cursor.executemany(statement, parameters)
        return int(cursor.rowcount)


def begin() -> None:
    """Begin the transaction of `transactions.begun_inside`, with the statements that follow (PostgreSQL)."""
    if _is_our_transaction():
        execute(_BEGIN)


def commit() -> None:
    """Commit it, with the statements before; not if one of them fails."""
    if _is_our_transaction():
        execute(_COMMIT)


def limit_transaction_time() -> None:
    """Have PostgreSQL end this transaction if it, or a wait for its locks, takes more than a few seconds."""
    if _is_our_transaction() and not is_limited():
        limits = [f"set_config('{name}', '{value}', true)" for name, value in LIMITS.items()]
        execute(f"SELECT {', '.join(limits)}")


def _is_our_transaction() -> bool:
    """Tell whether BEGIN and COMMIT are sent from here (PostgreSQL), and limits are not those of a test's."""
    return connection.vendor == "postgresql" and lending.lent() is None


@cache
def _moments() -> Any:
    """Return psycopg's own compiled loader of `timestamptz` values.

    Django's loader, in Python, makes no difference for connections in UTC, as ours are.
    """
    return psycopg.adapters.get_loader(psycopg.adapters.types["timestamptz"].oid, psycopg.pq.Format.TEXT)


def _executions(here: BaseDatabaseWrapper, statements: Sequence[str]) -> list[str]:
    if here.vendor != "postgresql":
        return list(statements)
    here.ensure_connection()
    if here.connection.prepare_threshold is None:
        return list(statements)
    known = _prepared.setdefault(here.connection, dict(_OF_TRANSACTIONS))
    _prepare(known, [statement for statement in dict.fromkeys(statements) if statement not in known])
    return [known[statement] for statement in statements]


def _prepare(known: dict[str, str], statements: Sequence[str]) -> None:
    """Have the statements prepared, and add the text that executes each."""
    if not statements:
        return
    names = {statement: f"sayso_{next(_numbers)}" for statement in statements}
    with connection.cursor() as cursor:
        cursor.execute(
            ";".join(f"PREPARE {name} AS {_number_parameters(one)}" for one, name in names.items())
        )
    known.update({one: f"EXECUTE {name}{_places(one.count('%s'))}" for one, name in names.items()})


def _number_parameters(statement: str) -> str:
    first, *others = statement.split("%s")
    return first + "".join(f"${number}{rest}" for number, rest in enumerate(others, 1))


def _places(number: int) -> str:
    return f" ({', '.join(['%s'] * number)})" if number else ""
