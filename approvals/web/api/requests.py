"""Requests over HTTP: ask, look, wait, decide. Views only parse, call and say what came of it.

They never wait for people: an answer that is to be held back is held back outside of Django, by
approvals.web.edge.long_polling.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from ninja import Body, Path, Query, Router
from pydantic import WithJsonSchema

from approvals import deciding, queries
from approvals.domain.lifecycle import Outcome, Status
from approvals.domain.questions import REVIEWERS
from approvals.exceptions import InvalidRequest
from approvals.web.api import asking, schemas
from approvals.web.api.authentication import Caller, actor_of, caller_of
from approvals.web.api.paging import cursor_after, place_of
from approvals.web.api.wire import (
    CommentOnTheWire,
    Comments,
    EchoedOutcome,
    History,
    OutcomeOnTheWire,
    PageOfRequests,
    RequestOnTheWire,
)
from approvals.web.edge.long_polling import hold_answer
from approvals.web.edge.problems import described
from approvals.web.edge.tokens import Scope
from approvals.web.pages.wording import entry_in_words

router = Router(by_alias=True)

# Problems of what changes a request.
ON_CHANGE = ("unknown_request", "already_decided", "too_late", "too_large")

# Comments in one answer; each may have as many characters as a comment may.
MOST_COMMENTS = 100

RequestId = Annotated[
    str, WithJsonSchema({"type": "string", "format": "uuid", "description": "The request's id."}), Path(...)
]

_EXAMPLES = {
    "approval": {"summary": "An approval", "value": schemas.APPROVAL_QUESTION},
    "clarification": {"summary": "A clarification", "value": schemas.CLARIFICATION_QUESTION},
}
EXAMPLES = {"content": {"application/json": {"examples": _EXAMPLES}}}


@router.post(
    "/requests",
    response={201: RequestOnTheWire, 200: RequestOnTheWire},
    **described("Ask", "key_conflict", "too_large", "quota_exceeded", requestBody=EXAMPLES),
)
def ask(request: HttpRequest, body: Body[schemas.AnyQuestion]) -> HttpResponse:
    """Ask people to approve an exact action, or for an answer; you are the requester.

    201: it is new; 200: the same question was asked under its `key` before. Needs the scope `ask`.
    """
    caller = caller_of(request, Scope.ASK)
    request_id, new = asking.ask(actor_of(request), body)
    asked = queries.request_for(caller.user_id, request_id)
    return _answer(queries.on_the_wire(asked), HTTPStatus.CREATED if new else HTTPStatus.OK)


@router.get("/requests", response=PageOfRequests, **described("List requests"))
def list_requests(request: HttpRequest, filters: Query[schemas.RequestFilters]) -> HttpResponse:
    """List the requests that you may see, newest first; fewer than `limit` if they are large.

    With `asked=me`, or a `key`, only what you have asked yourself. Needs the scope `read`; for your own,
    `ask` will do.
    """
    own = filters.asked is not None or filters.key is not None
    caller = caller_of(request, Scope.READ, *[Scope.ASK] * own)
    rows, more = queries.list_requests(
        caller.user_id,
        status=filters.status,
        kind=filters.kind,
        mine=filters.assigned == "me",
        asked=own,
        key=filters.key,
        origin=_origin_of(filters),
        group=filters.group,
        since=filters.since,
        until=filters.until,
        behind=place_of(filters.cursor),
        limit=filters.limit,
    )
    found = [queries.on_the_wire(row) for row in rows]
    return _answer({"requests": found, "next": cursor_after(rows, more, "opened_at")})


@router.get(
    "/requests/{request_id}", response=RequestOnTheWire, **described("One request", "unknown_request")
)
def get_request(request: HttpRequest, request_id: RequestId) -> HttpResponse:
    """Needs the scope `read`; for what you have asked yourself, `ask` will do."""
    return _answer(queries.on_the_wire(_find_request(request, request_id)))


@router.get(
    "/requests/{request_id}/outcome",
    response={200: EchoedOutcome, 202: EchoedOutcome},
    **described("Wait for the outcome", "unknown_request"),
)
def get_outcome(
    request: HttpRequest, request_id: RequestId, patience: Query[schemas.Patience]
) -> HttpResponse:
    """Return the outcome: 200 if the request is closed, 202 if it is still pending after `wait` seconds.

    With `wait`, the answer comes as soon as the request is closed. Ask again after a 202, and after a lost
    connection. Needs the scope `read`, or `ask` for your own requests.
    """
    asked = _find_request(request, request_id)
    outcome = queries.outcome_of(asked)
    told = queries.outcome_on_the_wire(outcome) | queries.echo_of(asked)
    if outcome.closed:
        return _answer(told)
    if patience.wait:
        token_id = caller_of(request, *Scope).token_id
        hold_answer(request, request_id=asked.pk, seconds=patience.wait, token_id=token_id)
    return _answer(told, HTTPStatus.ACCEPTED)


@router.get(
    "/requests/{request_id}/history",
    response=History,
    **described("The trail of a request", "unknown_request"),
)
def get_history(request: HttpRequest, request_id: RequestId) -> HttpResponse:
    """Who did what to it, when and from where. Needs the scope `read`; for your own, `ask` will do."""
    asked = _find_request(request, request_id)
    requester = asked.requester.get_username() if asked.requester else None
    lines = [entry_in_words(entry, asked.required, requester) for entry in queries.history(asked)]
    return _answer({"entries": [_line(line) for line in lines]})


@router.post(
    "/requests/{request_id}/decision", response=OutcomeOnTheWire, **described("Approve or reject", *ON_CHANGE)
)
def decide(request: HttpRequest, request_id: RequestId, body: schemas.DecisionBody) -> HttpResponse:
    """Vote on an approval, or `respond` with a text. With a quorum, it may still be `pending` then.

    Repeating your own decision is safe; changing it is `already_decided`. Needs the scope `decide`.
    """
    caller_of(request, Scope.DECIDE)
    return _outcome(
        deciding.decide(
            actor_of(request),
            request_id,
            body.decision,
            comment=body.comment,
            arguments=body.arguments,
            answer=body.answer,
        )
    )


@router.post("/requests/{request_id}/answer", response=OutcomeOnTheWire, **described("Answer", *ON_CHANGE))
def answer(request: HttpRequest, request_id: RequestId, body: schemas.AnswerBody) -> HttpResponse:
    """Answer a clarification. Repeating your own answer is safe. Needs the scope `decide`."""
    caller_of(request, Scope.DECIDE)
    return _outcome(deciding.answer(actor_of(request), request_id, body.answer, comment=body.comment))


@router.post(
    "/requests/{request_id}/withdraw",
    response=OutcomeOnTheWire,
    **described("Take a question back", *ON_CHANGE),
)
def withdraw(
    request: HttpRequest,
    request_id: RequestId,
    body: schemas.WithdrawalBody = schemas.WithdrawalBody(),  # noqa: B008 - a value
) -> HttpResponse:
    """Take back what you have asked; who waits for it is told. Repeating is safe. Needs the scope `ask`."""
    caller = caller_of(request, Scope.ASK)
    if Scope.READ not in caller.scopes:
        queries.request_for(caller.user_id, request_id, own=True)
    return _outcome(deciding.withdraw(actor_of(request), request_id, body.reason))


@router.post(
    "/requests/{request_id}/reassign", response=OutcomeOnTheWire, **described("Let others decide", *ON_CHANGE)
)
def reassign(request: HttpRequest, request_id: RequestId, body: schemas.ReassignmentBody) -> HttpResponse:
    """Hand on what is assigned to you. Repeating is safe, also where you can't see it any more then.

    Needs the scope `decide`.
    """
    caller_of(request, Scope.DECIDE)
    users = REVIEWERS if asking.reviewers_alone(body) else body.users
    return _outcome(deciding.reassign(actor_of(request), request_id, users, body.groups, reason=body.reason))


@router.post(
    "/requests/{request_id}/comments",
    response=CommentOnTheWire,
    **described("Comment, or ask something back", "unknown_request", "too_late", "too_large"),
)
def comment(request: HttpRequest, request_id: RequestId, body: schemas.CommentBody) -> HttpResponse:
    """Say something about a request that you may see, until 30 days after it was closed.

    60 an hour and person; `rate_limited` says when there is room again. Saying the same again, with nothing
    said in between, is the same comment. Needs the scope `decide`, or `ask` for your own requests, and for
    all with `read`.
    """
    caller = caller_of(request, Scope.ASK, Scope.DECIDE)
    if caller.scopes.isdisjoint({Scope.READ, Scope.DECIDE}):
        queries.request_for(caller.user_id, request_id, own=True)
    deciding.comment(actor_of(request), request_id, body.text, body.question)
    said = queries.last_comment_by(caller.user_id, request_id, body.text)
    return _answer(queries.comment_on_the_wire(said))


@router.get(
    "/requests/{request_id}/comments",
    response={200: Comments, 202: Comments},
    **described("Read comments, or wait for the next", "unknown_request"),
)
def get_comments(
    request: HttpRequest, request_id: RequestId, filters: Query[schemas.CommentFilters]
) -> HttpResponse:
    """Return the comments after the entry `after`: 200, also if there is none and the request is closed.

    202 if there is none yet. With `wait`, the answer comes as soon as somebody comments or the request is
    closed. Ask again after a 202, and after a lost connection. Needs the scope `read`, or `ask` for your own
    requests.
    """
    asked = _find_request(request, request_id)
    found, more = queries.comments_on(asked.pk, after=filters.after, limit=MOST_COMMENTS)
    said = [queries.comment_on_the_wire(one) for one in found]
    answer = {"comments": said, "more": more, "status": asked.status}
    if said or asked.status != Status.PENDING:
        return _answer(answer)
    if filters.wait:
        token_id = caller_of(request, *Scope).token_id
        hold_answer(
            request, request_id=asked.pk, seconds=filters.wait, token_id=token_id, known=filters.after
        )
    return _answer(answer, HTTPStatus.ACCEPTED)


def _find_request(request: HttpRequest, request_id: str) -> Any:
    """Return the request if the caller may see it; without the scope `read` only its user's own."""
    caller: Caller = caller_of(request, Scope.READ, Scope.ASK)
    return queries.request_for(caller.user_id, request_id, own=Scope.READ not in caller.scopes)


def _origin_of(filters: schemas.RequestFilters) -> queries.OriginFilter | None:
    if filters.origin_id is not None:
        return queries.OriginFilter(kind=filters.origin_kind, id=filters.origin_id)
    if filters.origin_kind is not None:
        raise InvalidRequest("origin_kind needs origin_id beside it.", field="origin_kind")
    return None


def _line(line: Any) -> dict[str, Any]:
    entry = line.entry
    as_they_are = ("sequence", "event", "actor", "channel", "token", "address", "user_agent")
    return {
        **{name: getattr(entry, name) for name in as_they_are},
        "outcome": entry.outcome or None,
        "at": queries.moment_on_the_wire(entry.at),
        "text": line.text,
        "said": line.said,
    }


def _outcome(outcome: Outcome) -> HttpResponse:
    return _answer(queries.outcome_on_the_wire(outcome))


def _answer(value: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    return HttpResponse(json.dumps(value), content_type="application/json", status=status)
