"""Name the orchestration that asked a request, for queries over requests."""

from __future__ import annotations

from typing import Any

from django.db.models import CharField, Exists, F, Func, OuterRef, QuerySet, Subquery, UUIDField

from approvals.queries.origin_resolvers import Resolver
from orchestration.catalog import orchestrations
from orchestration.models import Run
from orchestration.queries import CHANGE_ALL, SEE_ALL

KIND = "run"


class AsRunId(Func):
    """A text as a UUID, or NULL: a program that asks over the API can send any text."""

    output_field = UUIDField()

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
        sql, params = compiler.compile(self.source_expressions[0])
        # CASE decides before the cast is made.
        return f"CASE WHEN {sql} ~ '{pattern}' THEN {sql}::uuid END", (*params, *params)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        """Remove the hyphens: SQLite stores UUIDs without them."""
        sql, params = compiler.compile(self.source_expressions[0])
        return f"REPLACE({sql}, '-', '')", params


class AsOriginId(Func):
    """A UUID as text with hyphens, as requests store it."""

    output_field = CharField()

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        sql, params = compiler.compile(self.source_expressions[0])
        return f"{sql}::text", params

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        sql, params = compiler.compile(self.source_expressions[0])
        places = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
        return "||'-'||".join(f"substr({sql}, {start}, {length})" for start, length in places), params * 5


def resolver() -> Resolver:
    """Return how queries over requests find the names of runs' orchestrations."""
    return Resolver(
        word="orchestration",
        names=lambda: sorted(orchestrations()),
        name=lambda: Subquery(_runs().values("orchestration")[:1], output_field=CharField()),
        named=lambda name: Exists(_runs().filter(orchestration=name)),
        there=lambda: Exists(_runs()),
        permissions=(SEE_ALL, CHANGE_ALL),
        table=lambda: Run.objects.values(origin=AsOriginId("id"), name=F("orchestration")),
    )


def _runs() -> QuerySet[Run]:
    """Select the run that asked a request, inside a query over requests."""
    return Run.objects.filter(pk=AsRunId(OuterRef("origin_id")))
