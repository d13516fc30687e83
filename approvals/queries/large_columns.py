"""Leave out the large columns of requests, or read only small ones: each may have a mebibyte."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db.models import Case, F, Func, IntegerField, Q, When
from django.db.models.functions import Coalesce

from approvals.domain.request_terms import Place, terms_in
from approvals.models import HumanRequest
from approvals.queries.requests import Requests

# Columns that may be large: of the question, and of the outcome.
QUESTION_COLUMNS = tuple(term.name for term in terms_in(Place.ROW) if term.large)
OUTCOME_COLUMNS = ("final_arguments", "answer", "comment")


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
_OUTCOME_BYTES = (
    Coalesce(Octets("final_arguments"), Octets("arguments"))
    + Coalesce(Octets("answer"), 0)
    + Octets("comment")
)


def defer_large(requests: Requests) -> Requests:
    """Leave out the columns that may be large; annotate `weight`, the bytes of the question."""
    return requests.defer(*QUESTION_COLUMNS, *OUTCOME_COLUMNS).annotate(weight=QUESTION_BYTES)


def defer_outcome(requests: Requests) -> Requests:
    """Leave out the columns of the outcome."""
    return requests.defer(*OUTCOME_COLUMNS)


def load_large(rows: Collection[Any], limit: int) -> None:
    """Read, in one query, the columns that `defer_large` left out of these rows.

    The question is read if it has at most `limit` bytes, and so is the outcome; otherwise the columns are
    None. The attributes `asked_whole` and `outcome_whole` say which were read.
    """
    if not rows:
        return
    asked, outcome = Q(weight__lte=limit), Q(outcome_weight__lte=limit)
    conditions = dict.fromkeys(QUESTION_COLUMNS, asked) | dict.fromkeys(OUTCOME_COLUMNS, outcome)
    conditions["arguments"] = asked | outcome
    columns = [Case(When(condition, then=F(column))) for column, condition in conditions.items()]
    requests = HumanRequest.objects.filter(pk__in=[row.pk for row in rows])
    weighed = requests.annotate(weight=QUESTION_BYTES, outcome_weight=_OUTCOME_BYTES)
    found = {pk: values for pk, *values in weighed.values_list("pk", "weight", "outcome_weight", *columns)}
    for row in rows:
        weight, outcome_weight, *values = found[row.pk]
        row.asked_whole, row.outcome_whole = weight <= limit, outcome_weight <= limit
        for column, value in zip(conditions, values, strict=True):
            setattr(row, column, value)
