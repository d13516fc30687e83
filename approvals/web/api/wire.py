"""The shapes that the API answers, for its documentation: what approvals.queries puts on the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import EnumType
from functools import reduce
from operator import or_
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.config import JsonDict

from approvals.domain.request_terms import TERMS, Place, Term, terms_in
from approvals.queries.serialization import ECHOED

M = TypeVar("M", bound=BaseModel)


def with_terms(
    terms: Iterable[Term], make: Callable[[Term], tuple[Any, Any]]
) -> Callable[[type[M]], type[M]]:
    """Decorate a model: add a field for each term, of which `make` returns the type and the `Field`."""
    fields = {field_name(term): make(term) for term in terms}

    def add(model: type[M]) -> type[M]:
        about: dict[str, Any] = {"__doc__": model.__doc__, "__module__": model.__module__, **fields}
        return create_model(model.__name__, __base__=model, **about)

    return add


def field_name(term: Term) -> str:
    """Name the field of a model as its term, unless that would hide something of pydantic's."""
    return f"json_{term.name}" if hasattr(BaseModel, term.name) else term.name


def make_field(term: Term, type_: Any, *, null: bool, **about: Any) -> tuple[Any, Any]:
    """Return the type and field of a term, for `with_terms`; enumerations become their values."""
    kinds = get_args(type_) if isinstance(type_, UnionType) else (type_,)
    told: list[Any] = [
        _literal(one) if isinstance(one, EnumType) else one for one in kinds if one is not NoneType
    ]
    if null and type_ is not Any:
        told.append(None)
    alias = None if field_name(term) == term.name else term.name
    return reduce(or_, told), Field(alias=alias, description=term.help, **about)


def _literal(enumeration: Any) -> Any:
    literal: Any = Literal
    return literal[tuple(each.value for each in enumeration)]


APPROVAL_EXAMPLE: dict[str, Any] = {
    **{term.name: term.to_wire(term.to_row(term.default)) for term in terms_in(Place.WIRE)},
    "id": "01996c1e-7c1a-7d53-9d0e-0f6f6d3b8a11",
    "kind": "approval",
    "title": "Refund 1,240.00 EUR to ACME",
    "details": "Order 812 was delivered twice.",
    "arguments": {"order": 812, "amount": "1240.00"},
    "highlight": ["amount"],
    "status": "pending",
    "requester": "billing",
    "assignees": {"users": ["ann"], "groups": ["finance"]},
    "approvals": 0,
    "escalated": 0,
    "opened_at": "2026-11-22T09:30:00.120000Z",
    "deadline": "2026-11-22T09:35:00.120000Z",
    "on_timeout": "reject",
    "origin": {"kind": "job", "id": "nightly-812", "url": "https://jobs.example.org/812"},
    "url": "https://sayso.example.org/requests/01996c1e-7c1a-7d53-9d0e-0f6f6d3b8a11/",
}

OUTCOME_EXAMPLE: dict[str, Any] = {
    "request_id": "01996c1e-7c1a-7d53-9d0e-0f6f6d3b8a11",
    "kind": "approval",
    "status": "approved",
    "approved": True,
    "answer": None,
    "arguments": {"order": 812, "amount": "1240.00"},
    "comment": "Looks right.",
    "decided_by": "ann",
    "decided_at": "2026-11-22T09:31:12.407000Z",
    "timed_out": False,
    "withdrawn": False,
    "url": "https://sayso.example.org/requests/01996c1e-7c1a-7d53-9d0e-0f6f6d3b8a11/",
}

COMMENT_EXAMPLE: JsonDict = {
    "sequence": 3,
    "author": "ann",
    "at": "2026-11-22T09:30:41.118000Z",
    "text": "Which customer is this for?",
    "question": True,
}

MOMENT: JsonDict = {"format": "date-time"}
URL_ABOUT = "The request's page; its path alone where the installation does not say its address (SAYSO_URL)."

KindName = Literal["approval", "clarification"]
StatusName = Literal["pending", "approved", "rejected", "answered", "timed_out", "withdrawn"]


class Names(BaseModel):
    """Who may decide; both empty: any reviewer."""

    users: list[str]
    groups: list[str]


class StepOnTheWire(BaseModel):
    """A step of a request's escalation: who decides as well from then on, or, with `replace`, instead."""

    after: float
    users: list[str]
    groups: list[str]
    replace: bool


class GroupOnTheWire(BaseModel):
    """What belongs together: requests of one requester with the same `key`."""

    key: str
    title: str


# The terms that programs read in a form of their own.
_FORMS: dict[str, Any] = {"escalation": list[StepOnTheWire], "group": GroupOnTheWire | None}


def _wire_field(term: Term) -> tuple[Any, Any]:
    type_ = _FORMS.get(term.name, term.type)
    return make_field(term, type_, null=term.empty is not ... or NoneType in get_args(term.type))


@with_terms(terms_in(Place.WIRE), _wire_field)
class RequestOnTheWire(BaseModel):
    """A question to people, as everybody sees it who may see it."""

    model_config = ConfigDict(json_schema_extra={"examples": [APPROVAL_EXAMPLE]})

    id: str = Field(json_schema_extra={"format": "uuid"})
    kind: KindName
    status: StatusName
    requester: str | None
    assignees: Names
    approvals: int = Field(
        description="Approvals so far. One counts if who gave it may decide when the request closes."
    )
    escalated: int = Field(description="How many steps of its `escalation` were done.")
    opened_at: str = Field(json_schema_extra=MOMENT)
    deadline: str | None = Field(json_schema_extra=MOMENT)
    url: str = Field(description=URL_ABOUT, json_schema_extra={"format": "uri-reference"})


class OutcomeOnTheWire(BaseModel):
    """What is on record: while the request is pending, its `status` says so."""

    model_config = ConfigDict(json_schema_extra={"examples": [OUTCOME_EXAMPLE]})

    request_id: str = Field(json_schema_extra={"format": "uuid"})
    kind: KindName
    status: StatusName
    approved: bool | None = Field(
        description="True only when approved, or timed out with `on_timeout: approve`; null: no decision."
    )
    answer: Any
    arguments: dict[str, Any] = Field(description="The action as finally approved.")
    comment: str
    decided_by: str | None
    decided_at: str | None = Field(json_schema_extra=MOMENT)
    timed_out: bool
    withdrawn: bool
    url: str = Field(description=URL_ABOUT, json_schema_extra={"format": "uri-reference"})


@with_terms([TERMS[name] for name in ECHOED], _wire_field)
class EchoedOutcome(OutcomeOnTheWire):
    """The outcome for who asked, with what they said beside the question."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [OUTCOME_EXAMPLE | {name: APPROVAL_EXAMPLE[name] for name in ECHOED}]}
    )


class PageOfRequests(BaseModel):
    """Newest first. `next` is the `cursor` of the following page; null: there is none."""

    requests: list[RequestOnTheWire]
    next: str | None


class ItemError(BaseModel):
    """Why one of many was refused; as in a problem."""

    code: str
    detail: str
    errors: list[dict[str, str]] | None = None
    outcome: OutcomeOnTheWire | None = None


class DecisionResult(BaseModel):
    """What came of one of many decisions: its `outcome`, or an `error`."""

    request_id: str
    outcome: OutcomeOnTheWire | None = None
    error: ItemError | None = None


class DecisionResults(BaseModel):
    """One for each decision, in order."""

    results: list[DecisionResult]


class Outcomes(BaseModel):
    """Of those that were named: the outcomes that there are, whom to ask for again, and who is unknown."""

    outcomes: list[EchoedOutcome] = Field(description="Those that are closed, as many as fit into 1 MiB.")
    left: list[str] = Field(description="Ids to ask for again: they are pending, or did not fit.")
    unknown: list[str] = Field(description="Ids of no request that the caller may see.")


class Withdrawals(BaseModel):
    """What came of each, oldest first; with `more`, call again."""

    results: list[DecisionResult]
    more: bool


class CommentOnTheWire(BaseModel):
    """What somebody said about a request."""

    model_config = ConfigDict(json_schema_extra={"examples": [COMMENT_EXAMPLE]})

    sequence: int = Field(description="The number of its entry on the request's trail.")
    author: str | None = Field(description="null: a program of this installation.")
    at: str = Field(json_schema_extra=MOMENT)
    text: str | None = Field(description="null: its words were removed.")
    question: bool = Field(description="Whether it asks for an answer.")


class Comments(BaseModel):
    """Comments in order; with `more`, call again after the last one. `status` is that of the request."""

    comments: list[CommentOnTheWire]
    more: bool
    status: StatusName


class HistoryEntry(BaseModel):
    """One entry of a request's trail, as the request's page shows it."""

    sequence: int
    event: str
    outcome: str | None = Field(description="What it closed the request as, if it did.")
    actor: str | None
    channel: str
    token: str | None = Field(description="The name of the API token that was shown.")
    address: str | None = Field(description="From where.")
    user_agent: str
    at: str = Field(json_schema_extra=MOMENT)
    text: str = Field(description="The entry in words.")
    said: Any = Field(description="The comment, the answer or the reason; null: none, or purged.")


class History(BaseModel):
    """The trail of a request, oldest entry first."""

    entries: list[HistoryEntry]
