"""Many requests in one call: decided, waited for, taken back."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Router

from approvals import deciding, queries
from approvals.domain.lifecycle import Outcome
from approvals.exceptions import ApprovalError
from approvals.web.api import schemas
from approvals.web.api.authentication import actor_of, caller_of
from approvals.web.api.wire import DecisionResults, Outcomes, Withdrawals
from approvals.web.edge.long_polling import hold_answer_for_any
from approvals.web.edge.problems import contents_of, described
from approvals.web.edge.tokens import Scope

router = Router(by_alias=True)

# Requests taken back in one call.
MOST_WITHDRAWN = 1000


@router.post("/decisions", response=DecisionResults, **described("Many decisions at once", "too_large"))
def decide_many(request: HttpRequest, body: schemas.ManyDecisions) -> HttpResponse:
    """Make up to 1,000 decisions; each gets its outcome, or the error that it would get alone, in order.

    Repeating is safe. Needs the scope `decide`.
    """
    caller_of(request, Scope.DECIDE)
    actor = actor_of(request)
    decisions = [
        deciding.make_decision(
            actor,
            one.request_id,
            one.decision,
            comment=one.comment,
            arguments=one.arguments,
            answer=one.answer,
        )
        for one in body.decisions
    ]
    ids = [one.request_id for one in body.decisions]
    return _answer({"results": _results(ids, deciding.decide_each(decisions))})


@router.post(
    "/outcomes",
    response={200: Outcomes, 202: Outcomes},
    **described("Wait for the first of many", "too_large"),
)
def get_outcomes(request: HttpRequest, body: schemas.AnyOutcome) -> HttpResponse:
    """Return the outcomes of those of up to 1,000 requests that are closed; 202 if none is.

    With `wait`, the answer comes as soon as the first is closed. Ask again for what is `left`, and after a
    lost connection. It changes nothing. Needs the scope `read`, or `ask` for your own requests.
    """
    caller = caller_of(request, Scope.READ, Scope.ASK)
    found = queries.outcomes_for(caller.user_id, body.ids, own=Scope.READ not in caller.scopes)
    echoes = queries.echoes([UUID(outcome.request_id) for outcome in found.outcomes])
    answer = {
        "outcomes": [
            queries.outcome_on_the_wire(outcome) | echoes[UUID(outcome.request_id)]
            for outcome in found.outcomes
        ],
        "left": [str(request_id) for request_id in found.left],
        "unknown": found.unknown,
    }
    if found.outcomes or found.unknown:
        return _answer(answer)
    if body.wait:
        hold_answer_for_any(
            request,
            request_ids=found.left,
            seconds=body.wait,
            token_id=caller.token_id,
            user_id=caller.user_id,
        )
    return _answer(answer, HTTPStatus.ACCEPTED)


@router.post(
    "/requests/withdraw", response=Withdrawals, **described("Take back all of one origin", "too_large")
)
def withdraw_all(request: HttpRequest, body: schemas.OriginWithdrawal) -> HttpResponse:
    """Take back what you have asked with this `origin` and is pending, up to 1,000 in one call.

    So a program that was stopped clears up at its next start. Repeating is safe. Needs the scope `ask`.
    """
    caller = caller_of(request, Scope.ASK)
    origin = queries.OriginFilter(kind=body.origin.kind, id=body.origin.id)
    ids, more = queries.pending_of_origin(caller.user_id, origin, limit=MOST_WITHDRAWN)
    results = deciding.withdraw_each(actor_of(request), ids, body.reason)
    return _answer({"results": _results(ids, results), "more": more})


def _results(ids: list[Any], results: list[Outcome | ApprovalError]) -> list[dict[str, Any]]:
    return [_result(request_id, result) for request_id, result in zip(ids, results, strict=True)]


def _result(request_id: UUID | str, result: Outcome | ApprovalError) -> dict[str, Any]:
    if isinstance(result, ApprovalError):
        return {"request_id": str(request_id), "error": contents_of(result)}
    return {"request_id": str(request_id), "outcome": queries.outcome_on_the_wire(result)}


def _answer(value: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    return HttpResponse(json.dumps(value), content_type="application/json", status=status)
