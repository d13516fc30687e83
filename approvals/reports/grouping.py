"""By what a report groups requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import CharField, F, QuerySet, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast

from approvals.queries import origins

T = TypeVar("T")

ORCHESTRATION = "orchestration"


class By(StrEnum):
    DAY = "day"
    KIND = "kind"
    ORCHESTRATION = "orchestration"
    APPROVER = "approver"
    GROUP = "group"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """How requests are told apart. `column` goes into a query over requests; where many values of it have one
    name, `names` says which (columns `origin` and `name`). Parts that are rows go by their ids, which sort
    faster than names; `labels` then has the names of all."""

    column: Combinable
    names: QuerySet[Any, Any] | None = None
    labels: QuerySet[Any, Any] | None = None

    @property
    def alias(self) -> dict[str, Combinable]:
        """For `values`: the column, under the name by which `named` knows it."""
        return {"part" if self.names is None else "origin_": self.column}

    def label(self, figures: Mapping[Any, T]) -> dict[str | None, T]:
        """What was counted of each part, under its name."""
        if self.labels is None:
            return dict(figures)
        label_of = dict(self.labels.filter(pk__in=[part for part in figures if part is not None]))
        return {label_of.get(part): counted for part, counted in figures.items()}

    def add_names(self, facts: str, params: list[Any]) -> tuple[str, list[Any]]:
        """The query with the names of parts in its column `part`; NULL where a request belongs to none.

        One join for all rows: to look each row's name up takes ten times as long.
        """
        if self.names is None:
            return facts, params
        names, more = self.names.query.sql_with_params()
        joined = f"({facts}) asked LEFT JOIN ({names}) named ON named.origin = asked.origin_"
        return f"SELECT asked.*, named.name AS part FROM {joined}", [*params, *more]  # noqa: S608  our own


def parts_of(by: By) -> Parts:
    """A request that is assigned to several groups belongs to several parts."""
    match by:
        case By.KIND:
            return Parts(column=F("kind"))
        case By.APPROVER:
            people = get_user_model()._default_manager
            return Parts(
                column=F("decided_by_id"), labels=people.values_list("pk", get_user_model().USERNAME_FIELD)
            )
        case By.GROUP:
            return Parts(column=F("assigned_groups"), labels=Group.objects.values_list("pk", "name"))
        case By.ORCHESTRATION:
            known = (one for one in origins.resolvers().values() if one.word == ORCHESTRATION)
            resolver = next(known, None)
            if resolver is None:
                return Parts(column=Cast(Value(None), CharField()))
            return Parts(column=F("origin_id"), names=resolver.table())
    raise ValueError(by)
