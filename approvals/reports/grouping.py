"""By what a report groups requests."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import CharField, F, QuerySet, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast

from approvals import origins

ORCHESTRATION = "orchestration"


class By(StrEnum):
    DAY = "day"
    KIND = "kind"
    ORCHESTRATION = "orchestration"
    APPROVER = "approver"
    GROUP = "group"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """How requests are told apart. `column` goes into a query over requests; where it is no name yet, `names`
    has one for each of its values (columns `origin` and `name`)."""

    column: Combinable
    names: QuerySet[Any, Any] | None = None

    @property
    def alias(self) -> dict[str, Combinable]:
        """For `values`: the column, under the name by which `named` knows it."""
        return {"part" if self.names is None else "origin_": self.column}

    def named(self, facts: str, params: list[Any]) -> tuple[str, list[Any]]:
        """The query with the names of parts in its column `part`; NULL where a request belongs to none.

        One join for all rows: to look each row's name up takes ten times as long.
        """
        if self.names is None:
            return facts, params
        names, more = self.names.query.sql_with_params()
        joined = f"({facts}) asked LEFT JOIN ({names}) named ON named.origin = asked.origin_"
        return f"SELECT asked.*, named.name AS part FROM {joined}", [*params, *more]  # noqa: S608  our own


def grouping(by: By) -> Parts:
    """A request that is assigned to several groups belongs to several parts."""
    match by:
        case By.KIND:
            return Parts(column=F("kind"))
        case By.APPROVER:
            return Parts(column=F(f"decided_by__{get_user_model().USERNAME_FIELD}"))
        case By.GROUP:
            return Parts(column=F("assigned_groups__name"))
        case By.ORCHESTRATION:
            known = (one for one in origins.resolvers().values() if one.word == ORCHESTRATION)
            resolver = next(known, None)
            if resolver is None:
                return Parts(column=Cast(Value(None), CharField()))
            return Parts(column=F("origin_id"), names=resolver.table())
    raise ValueError(by)
