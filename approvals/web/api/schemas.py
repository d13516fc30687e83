"""The bodies and filters of calls about requests: declared, strict, nothing beside what is declared."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic.config import JsonDict

from approvals.deciding import COMMENT_LIMIT
from approvals.domain.lifecycle import Kind
from approvals.domain.payloads import LONGEST_DURATION
from approvals.domain.request_terms import KEY_LIMIT, TERMS, URL_LIMIT, Place, Term, terms_in
from approvals.domain.term_rules import GROUP_LIMIT, OMITTED, ORIGIN_LIMIT, TITLE_LIMIT
from approvals.fitting import RESPONSE_LIMIT
from approvals.web.api.paging import DEFAULT_LIMIT, LIMIT
from approvals.web.api.wire import KindName, StatusName, make_field, with_terms

MOST_DECISIONS = 1000
MOST_IDS = 1000
LONGEST_WAIT = 60.0
NAME_LIMIT = 150


# Their keys are in no example of README and docs/api.md: all of them can be tried with one account.
APPROVAL_QUESTION: JsonDict = {
    "kind": "approval",
    "title": "Refund 1,240.00 EUR to ACME",
    "details": "Order 820 was delivered twice.",
    "arguments": {"order": 820, "amount": "1240.00"},
    "highlight": ["amount"],
    "timeout": 3600,
    "key": "refund-820",
}

CLARIFICATION_QUESTION: JsonDict = {
    "kind": "clarification",
    "title": "Which cost centre?",
    "choices": ["4711", "4712"],
    "timeout": 3600,
    "key": "cost-centre-820",
}


def with_example(example: JsonDict) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class Body(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(extra="forbid", strict=True)


Comment = Annotated[str, Field(max_length=COMMENT_LIMIT)]
Name = Annotated[str, Field(min_length=1, max_length=NAME_LIMIT)]


# Asking


class Assignees(Body):
    """Who may decide, by name; or `reviewers`."""

    users: list[Name] = Field(default=[], max_length=1000)
    groups: list[Name] = Field(default=[], max_length=1000)
    reviewers: bool = Field(default=False, description="true, and neither users nor groups: any reviewer.")


def _no_run(kind: str) -> str:
    if kind == "run":
        raise ValueError("must not be 'run': only this installation's own runs ask as runs")
    return kind


def _web_address(url: str) -> str:
    if not url.startswith(("https://", "http://")):
        raise ValueError("must begin with https:// or http://")
    return url


class Origin(Body):
    """What asks: shown beside the request, with a link where there is a `url`."""

    kind: Annotated[str, AfterValidator(_no_run)] = Field(
        default="", max_length=ORIGIN_LIMIT, description="A word such as `job` or `agent`."
    )
    id: str = Field(default="", max_length=ORIGIN_LIMIT)
    url: Annotated[str, AfterValidator(_web_address)] = Field(default="", max_length=URL_LIMIT)


class RequestGroup(Body):
    """What belongs together: the same `key` and requester. Give all of it the same `title`."""

    key: str = Field(min_length=1, max_length=GROUP_LIMIT)
    title: str = Field(min_length=1, max_length=TITLE_LIMIT)


def _how_given(choices: object) -> str:
    return "labelled" if isinstance(choices, dict) else "listed"


Choices: TypeAlias = Annotated[
    Annotated[list[str], Tag("listed")] | Annotated[dict[str, str], Tag("labelled")],
    Discriminator(_how_given),
]


class EscalationStep(Body):
    """Who decides as well, or instead, if the request is still pending by then; users or groups, or both."""

    after: float = Field(
        gt=0, le=LONGEST_DURATION, description="Below 1: a share of its time. 1 or more: seconds."
    )
    users: list[Name] = Field(default=[], max_length=1000)
    groups: list[Name] = Field(default=[], max_length=1000)
    replace: bool = Field(default=False, description="true: from then on only these decide.")


# The terms that HTTP has in a form of its own.
_FORMS: Mapping[str, Any] = {
    "choices": Choices,
    "group": RequestGroup,
    "origin": Origin,
    "escalation": list[EscalationStep],
}


def _body_field(term: Term) -> tuple[Any, Any]:
    about = dict(term.limits)
    if "gt" in about:
        # The bound itself is refused where it is known that the question is new: some of old have it.
        least = about.pop("gt")
        about |= {"ge": least, "json_schema_extra": {"exclusiveMinimum": least}}
    null = term.omitted is None or term.omitted is OMITTED
    if term.omitted is not ...:
        about["default"] = None if null else term.to_row(term.omitted)
    return make_field(term, _FORMS.get(term.name, term.type), null=null, **about)


class Question(Body):
    """What both kinds of questions say about themselves."""

    assignees: Assignees = Field(default=Assignees(), description=TERMS["assignees"].help)


@with_terms(terms_in(Place.BODY, Kind.APPROVAL), _body_field)
class ApprovalQuestion(Question):
    """Ask people to approve an exact action."""

    model_config = with_example(APPROVAL_QUESTION)

    kind: Literal["approval"]


@with_terms(terms_in(Place.BODY, Kind.CLARIFICATION), _body_field)
class ClarificationQuestion(Question):
    """Ask people for an answer: one of `choices`, data that fits `schema`, or free text."""

    model_config = with_example(CLARIFICATION_QUESTION)

    kind: Literal["clarification"]


AnyQuestion: TypeAlias = Annotated[ApprovalQuestion | ClarificationQuestion, Field(discriminator="kind")]


# Deciding


class DecisionBody(Body):
    """Approve or reject, or respond with a text instead, where the request's `decisions` have that."""

    model_config = with_example({"decision": "approve", "comment": "Looks right."})

    decision: Literal["approve", "reject", "respond"]
    comment: Comment = ""
    arguments: dict[str, Any] | None = Field(
        default=None, description="The edited action, where the request lets it be edited."
    )
    answer: str | None = Field(
        default=None,
        min_length=1,
        max_length=RESPONSE_LIMIT,
        description="The text of `respond`, which needs one.",
    )


class AnswerBody(Body):
    """Answer a clarification, or an approval that takes a text instead."""

    model_config = with_example({"answer": "4711"})

    answer: Any = Field(
        description="Text, one of the choices (or a list of them), or data fitting the schema."
    )
    comment: Comment = ""


class WithdrawalBody(Body):
    """Take a question back. May be left out."""

    model_config = with_example({"reason": "The order was cancelled."})

    reason: Comment = ""


class CommentBody(Body):
    """Say something about a request, or ask something back."""

    model_config = with_example({"text": "Which customer is this for?", "question": True})

    text: str = Field(min_length=1, max_length=COMMENT_LIMIT)
    question: bool = Field(default=False, description="Whether it asks for an answer.")


class ReassignmentBody(Assignees):
    """Who may decide from now on, instead of those who may now; somebody, or `reviewers`."""

    model_config = with_example({"users": ["ann"], "groups": ["finance"], "reason": "Ann knows them."})

    reason: Comment = ""


class ManyDecisionsItem(DecisionBody):
    """One of many decisions."""

    model_config = with_example({"request_id": "01996c1e-7c1a-7d53-9d0e-0f6f6d3b8a11", "decision": "approve"})

    request_id: str = Field(max_length=100)


class ManyDecisions(Body):
    """Up to 1,000 decisions; each is made, or refused, for itself."""

    model_config = with_example(
        {"decisions": [{"request_id": "01996c1e-7c1a-7d53-9d0e-0f6f6d3b8a11", "decision": "approve"}]}
    )

    decisions: list[ManyDecisionsItem] = Field(min_length=1, max_length=MOST_DECISIONS)


class OriginBody(Body):
    """What has asked: its `origin`, by kind and id."""

    kind: str = Field(default="", max_length=ORIGIN_LIMIT)
    id: str = Field(min_length=1, max_length=ORIGIN_LIMIT)


class OriginWithdrawal(Body):
    """Take back everything that is pending of one origin."""

    model_config = with_example({"origin": {"kind": "agent", "id": "run-7"}, "reason": "The run has ended."})

    origin: OriginBody
    reason: Comment = ""


class AnyOutcome(Body):
    """Wait for the first of these."""

    model_config = with_example({"ids": ["01996c1e-7c1a-7d53-9d0e-0f6f6d3b8a11"], "wait": 30})

    ids: list[Annotated[str, Field(max_length=100)]] = Field(min_length=1, max_length=MOST_IDS)
    wait: float = Field(
        default=0,
        ge=0,
        le=LONGEST_WAIT,
        allow_inf_nan=False,
        description="Seconds to wait where none is closed; the answer comes the moment that one is.",
    )


# Looking


def _moment(value: object) -> datetime:
    """ISO 8601 with an offset, in UTC."""
    try:
        moment = datetime.fromisoformat(str(value))
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("must be a moment in ISO 8601 with its offset (in an address, + is written %2B)")


Moment = Annotated[datetime, BeforeValidator(_moment)]


class RequestFilters(BaseModel):
    """Which requests to list."""

    status: StatusName | None = None
    kind: KindName | None = None
    assigned: Literal["me"] | None = Field(default=None, description="`me`: only those that you may decide.")
    asked: Literal["me"] | None = Field(default=None, description="`me`: only those that you have asked.")
    key: str | None = Field(
        default=None, min_length=1, max_length=KEY_LIMIT, description="Those that you asked under this key."
    )
    origin_kind: str | None = Field(default=None, max_length=ORIGIN_LIMIT)
    origin_id: str | None = Field(
        default=None, min_length=1, max_length=ORIGIN_LIMIT, description="Those that this origin has asked."
    )
    group: str | None = Field(
        default=None,
        min_length=1,
        max_length=GROUP_LIMIT,
        description="Those of the group with this `key`; each requester has groups of their own.",
    )
    since: Moment | None = Field(default=None, description="Opened at this moment or later.")
    until: Moment | None = Field(default=None, description="Opened before this moment.")
    cursor: str | None = Field(default=None, description="The `next` of the page before.")
    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=LIMIT)


class Patience(BaseModel):
    """How long an answer may be held back."""

    wait: float = Field(
        default=0,
        ge=0,
        le=LONGEST_WAIT,
        allow_inf_nan=False,
        description="Seconds to wait for the outcome; it is answered the moment it is there.",
    )


class CommentFilters(BaseModel):
    """Which comments, and how long the answer may be held back."""

    after: int = Field(
        default=0,
        ge=0,
        lt=1 << 31,
        description="Only those after this entry of the trail: the `sequence` of the last that you know.",
    )
    wait: float = Field(
        default=0,
        ge=0,
        le=LONGEST_WAIT,
        allow_inf_nan=False,
        description="Seconds to wait for a comment, if there is none; it is answered the moment it is there.",
    )
