"""By what a report groups requests."""

from __future__ import annotations

from enum import StrEnum

from django.contrib.auth import get_user_model
from django.db.models import CharField, F, Value
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


def part(by: By) -> Combinable:
    """The name of each request's part, as a column of a query over requests; NULL where it has none.

    A request that is assigned to several groups is in each of these parts.
    """
    match by:
        case By.KIND:
            return F("kind")
        case By.APPROVER:
            return F(f"decided_by__{get_user_model().USERNAME_FIELD}")
        case By.GROUP:
            return F("assigned_groups__name")
        case By.ORCHESTRATION:
            known = (one for one in origins.resolvers().values() if one.word == ORCHESTRATION)
            resolver = next(known, None)
            return resolver.name() if resolver else Cast(Value(None), CharField())
    raise ValueError(by)
