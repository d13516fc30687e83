"""When a request is due soon: less than a fifth of its own time, from opening to deadline, is left."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import BooleanField, DateTimeField, F, Func, Value

SHARE = 5


def soon_from(opened_at: datetime, deadline: datetime) -> datetime:
    """Return the moment from which a request with these times is due soon."""
    return deadline - (deadline - opened_at) / SHARE


def is_due_soon(now: datetime) -> IsDueSoon:
    """Return the condition that a request is due soon, or overdue, at this moment; not without a deadline."""
    return IsDueSoon(F("opened_at"), F("deadline"), Value(now, output_field=DateTimeField()))


class IsDueSoon(Func):
    output_field = BooleanField()
    arity = 3

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        (opened, given), (deadline, due), (now, at) = map(compiler.compile, self.source_expressions)
        sql = f"({deadline} - ({deadline} - {opened}) / {SHARE} <= {now})"
        return sql, (*due, *due, *given, *at)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        (opened, given), (deadline, due), (now, at) = map(compiler.compile, self.source_expressions)
        left = f"(julianday({deadline}) - julianday({now}))"
        return f"({left} * {SHARE} <= julianday({deadline}) - julianday({opened}))", (*due, *at, *due, *given)
