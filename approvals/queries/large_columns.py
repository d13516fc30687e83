"""Leave out the large columns of requests, or read only small ones: each may have a mebibyte."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import cache
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Case, Func, IntegerField, When
from django.db.models.functions import Coalesce
from django.db.models.lookups import LessThanOrEqual

from approvals.database import bulk, conversions
from approvals.database.fields import JSONText
from approvals.database.pipeline import execute
from approvals.domain.request_terms import Place, terms_in
from approvals.models import HumanRequest
from approvals.queries.requests import Requests

# Columns that may be large: of the question, and of the outcome.
QUESTION_COLUMNS = tuple(term.name for term in terms_in(Place.ROW) if term.large)
OUTCOME_COLUMNS = ("final_arguments", "answer", "comment")
_LARGE = (*QUESTION_COLUMNS, *OUTCOME_COLUMNS)
# Of arguments this many bytes are read for a list, which shows some of them in one line.
SMALL = 4096


class Octets(Func):
    """The bytes of a text column, which PostgreSQL knows without reading the text."""

    function = "octet_length"
    output_field = IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="length(CAST(%(expressions)s AS BLOB))", **context)


# The bytes of the large columns of the question.
QUESTION_BYTES = sum(
    (Coalesce(Octets(column), 0) for column in QUESTION_COLUMNS[1:]), Octets(QUESTION_COLUMNS[0])
)

# Those of the outcome.
OUTCOME_BYTES = (
    Coalesce(Octets("final_arguments"), Octets("arguments"))
    + Coalesce(Octets("answer"), 0)
    + Octets("comment")
)


# The arguments where they are small enough for a list, else None.
SMALL_ARGUMENTS = Case(
    When(LessThanOrEqual(Octets("arguments"), SMALL), then="arguments"), output_field=JSONText(null=True)
)


def defer_large(requests: Requests) -> Requests:
    """Leave out the columns that may be large.

    Annotate `weight`, the bytes of the question, and `small_arguments`: the arguments, or None where they
    have more than SMALL bytes.
    """
    light = requests.defer(*QUESTION_COLUMNS, *OUTCOME_COLUMNS)
    return light.annotate(weight=QUESTION_BYTES, small_arguments=SMALL_ARGUMENTS)


def defer_outcome(requests: Requests) -> Requests:
    """Leave out the columns of the outcome."""
    return requests.defer(*OUTCOME_COLUMNS)


def load_large(rows: Collection[Any], limit: int) -> None:
    """Read the columns that `defer_large` left out of these rows, as `ask_for_large` does."""
    ask_for_large([row.pk for row in rows], limit)(rows)


def ask_for_large(ids: Collection[UUID], limit: int) -> Callable[[Iterable[Any]], None]:
    """Request the columns that are left out of rows; call the result to have them set in rows with these ids.

    The question is read if it has at most `limit` bytes, and so is the outcome; otherwise the columns are
    None. The attributes `asked_whole` and `outcome_whole` say which were read.
    """
    if not ids:
        return lambda rows: None
    found = execute(_large_statement(connection.vendor), [limit, limit, bulk.values(ids)])

    def fill(rows: Iterable[Any]) -> None:
        by_id = {row.pk: row for row in rows}
        for *values, asked, outcome, pk in bulk.select(HumanRequest, *_LARGE).restore(found.rows()):
            if (row := by_id.get(conversions.as_uuid(pk))) is not None:
                row.asked_whole, row.outcome_whole = bool(asked), bool(outcome)
                vars(row).update(zip(_LARGE, values, strict=True))

    return fill


def weight(vendor: str, table: str) -> str:
    """Return the SQL of the bytes of the question's large columns."""
    return _sum_of_octets(vendor, [f"{table}.{name}" for name in _names(*QUESTION_COLUMNS)])


def _sum_of_octets(vendor: str, columns: Collection[str]) -> str:
    octets = "octet_length({})" if vendor == "postgresql" else "length(CAST({} AS BLOB))"
    return " + ".join(f"coalesce({octets.format(column)}, 0)" for column in columns)


def _names(*fields: str) -> tuple[str, ...]:
    return bulk.select(HumanRequest, *fields).names


@cache
def _large_statement(vendor: str) -> str:
    """Return the statement that reads the large columns of what is not too large."""
    final, arguments, answer, comment = _names("final_arguments", "arguments", "answer", "comment")
    outcome = _sum_of_octets(vendor, [f"coalesce(r.{final}, r.{arguments})", f"r.{answer}", f"r.{comment}"])
    conditions = dict.fromkeys(_names(*QUESTION_COLUMNS), "asked") | dict.fromkeys(
        _names(*OUTCOME_COLUMNS), "outcome"
    )
    conditions[arguments] = "asked OR outcome"
    columns = ", ".join(f"CASE WHEN {condition} THEN {name} END" for name, condition in conditions.items())
    requests = f"{bulk.table(HumanRequest)} r"
    sizes = (
        f"{weight(vendor, 'r')} <= %s AS asked, {outcome} <= %s AS outcome FROM {requests}"
        f" WHERE {bulk.among('r.id')}"
    )
    if vendor == "sqlite":
        # It would compute the bytes for each column anew, and keep a copy of what is large each time, if the
        # inner query became part of the outer one; with an OFFSET it does not.
        rows = f"(SELECT r.id AS found, {sizes} LIMIT -1 OFFSET 0) CROSS JOIN {requests} ON r.id = found"
    else:
        rows = f"(SELECT r.*, {sizes}) r"
    return f"SELECT {columns}, asked, outcome, id FROM {rows}"  # noqa: S608
