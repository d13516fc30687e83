"""Delegations over HTTP: who decides for whom, made and ended."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.http import HttpRequest
from ninja import Path, Router, Status
from pydantic import BaseModel, Field, WithJsonSchema

from approvals import delegations
from approvals.queries.delegations import (
    REASON_LIMIT,
    delegation_on_the_wire,
    delegations_of,
    delegations_to,
    find_delegation,
)
from approvals.web.api.authentication import Caller, caller_of
from approvals.web.api.schemas import Body, Moment, Name, with_example
from approvals.web.api.wire import MOMENT
from approvals.web.edge.problems import described
from approvals.web.edge.tokens import Scope

router = Router(by_alias=True)

DelegationId = Annotated[
    str,
    WithJsonSchema({"type": "string", "format": "uuid", "description": "The delegation's id."}),
    Path(...),
]


class DelegationBody(Body):
    """Who decides for whom, and for how long."""

    model_config = with_example(
        {"delegate": "grace", "ends_at": "2030-12-24T08:00:00Z", "reason": "On leave"}
    )

    delegate: Name = Field(description="The username of who decides.")
    principal: Name | None = Field(
        default=None,
        description="The username of who is away; default: you. Others need `manage_delegation`.",
    )
    starts_at: Moment | None = Field(default=None, description="Default: now.")
    ends_at: Moment
    reason: str = Field(default="", max_length=REASON_LIMIT)


class DelegationOnTheWire(BaseModel):
    """From `starts_at` until `ends_at` the delegate decides for the principal, unless it was ended before."""

    id: str
    principal: str
    delegate: str
    starts_at: str = Field(json_schema_extra=MOMENT)
    ends_at: str = Field(json_schema_extra=MOMENT)
    reason: str
    made_by: str | None = Field(description="null: from a terminal, or by a program.")
    made_at: str = Field(json_schema_extra=MOMENT)
    ended_at: str | None = Field(
        json_schema_extra=MOMENT, description="null: it was not ended before its time."
    )
    ended_by: str | None


class Delegations(BaseModel):
    """Those of you, and those to you, each the latest first and 100 at most."""

    mine: list[DelegationOnTheWire]
    to_me: list[DelegationOnTheWire]


@router.get("/delegations", response=Delegations, **described("List delegations"))
def list_delegations(request: HttpRequest) -> dict[str, Any]:
    """List who decides for you, and for whom you do, also what is over. Needs the scope `read`."""
    caller = caller_of(request, Scope.READ)
    return {
        "mine": [delegation_on_the_wire(one) for one in delegations_of(caller.user_id)],
        "to_me": [delegation_on_the_wire(one) for one in delegations_to(caller.user_id)],
    }


@router.post(
    "/delegations",
    response={201: DelegationOnTheWire},
    **described("Have somebody decide for you", "too_large"),
)
def delegate(request: HttpRequest, body: DelegationBody) -> Status[Any]:
    """Have somebody decide for you for a time. Repeating is safe. Needs the scope `decide`."""
    person = _person(caller_of(request, Scope.DECIDE))
    principal = person if body.principal is None else body.principal
    made = delegations.delegate(
        principal, body.delegate, body.starts_at, body.ends_at, body.reason, by=person
    )
    return Status(201, delegation_on_the_wire(find_delegation(UUID(made))))


@router.post(
    "/delegations/{delegation_id}/end",
    response=DelegationOnTheWire,
    **described("End a delegation", "unknown_delegation"),
)
def end(request: HttpRequest, delegation_id: DelegationId) -> dict[str, Any]:
    """End what is yours, or to you, before its time. Repeating is safe. Needs the scope `decide`."""
    person = _person(caller_of(request, Scope.DECIDE))
    delegations.end(delegation_id, by=person)
    return delegation_on_the_wire(find_delegation(UUID(delegation_id)))


def _person(caller: Caller) -> Any:
    return get_user_model()._default_manager.get(pk=caller.user_id)
