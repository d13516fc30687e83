"""The shapes that the API answers, for its documentation: what selectors put on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

APPROVAL_EXAMPLE: dict[str, Any] = {
    "id": "01996c1e-7c1a-7d53-9d0e-0f6f6d3b8a11",
    "kind": "approval",
    "title": "Refund 1,240.00 EUR to ACME",
    "details": "Order 812 was delivered twice.",
    "arguments": {"order": 812, "amount": "1240.00"},
    "editable": False,
    "choices": None,
    "multiple": False,
    "schema": None,
    "status": "pending",
    "requester": "billing",
    "assignees": {"users": ["ann"], "groups": ["finance"]},
    "required": 1,
    "four_eyes": False,
    "approvals": 0,
    "opened_at": "2026-11-22T09:30:00.120000Z",
    "deadline": "2026-11-22T09:35:00.120000Z",
    "on_timeout": "reject",
    "default": None,
    "origin": {"kind": "job", "id": "nightly-812", "url": "https://jobs.example.org/812"},
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
}

MOMENT: JsonDict = {"format": "date-time"}

KindName = Literal["approval", "clarification"]
StatusName = Literal["pending", "approved", "rejected", "answered", "timed_out", "withdrawn"]


class Names(BaseModel):
    """Who may decide; both empty: whoever has the permission."""

    users: list[str]
    groups: list[str]


class RequestOnTheWire(BaseModel):
    """A question to people, as everybody sees it who may see it."""

    model_config = ConfigDict(json_schema_extra={"examples": [APPROVAL_EXAMPLE]})

    id: str = Field(json_schema_extra={"format": "uuid"})
    kind: KindName
    title: str
    details: str = Field(description="Markdown.")
    arguments: dict[str, Any] = Field(description="The exact action, as asked.")
    editable: bool | dict[str, Any] = Field(
        description="May the approver change `arguments`? Or the JSON Schema that the changed ones must fit."
    )
    choices: list[str] | dict[str, str] | None = Field(
        description="Options to pick from: values, or each value with its label."
    )
    multiple: bool
    json_schema: dict[str, Any] | None = Field(alias="schema")
    status: StatusName
    requester: str | None
    assignees: Names
    required: int = Field(description="Approvals needed; one rejection rejects.")
    four_eyes: bool = Field(description="Neither the requester nor whoever reassigns it may decide.")
    approvals: int = Field(
        description="Approvals so far. One counts if who gave it may decide when the request closes."
    )
    opened_at: str = Field(json_schema_extra=MOMENT)
    deadline: str | None = Field(json_schema_extra=MOMENT)
    on_timeout: Literal["approve", "reject"] | None
    default: Any = Field(description="The answer when the deadline passes.")
    origin: dict[str, str] | None = Field(description="What asked: `kind`, `id`, `url`.")


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
