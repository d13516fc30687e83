"""What a person does to a request on a page: decide, answer, withdraw, hand on, comment; decide several.

Each act on one request returns None once it is on record, and else what the page shows instead, with all
that was typed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse

from approvals import deciding, queries
from approvals.domain.commands import Actor, Channel
from approvals.domain.lifecycle import Outcome, Status
from approvals.exceptions import ApprovalError, UnknownRequest
from approvals.queries.assignees import sort_names
from approvals.web.edge.actors import actor_of_http
from approvals.web.edge.problems import STATUSES
from approvals.web.pages.access import record_view, user_id
from approvals.web.pages.chosen import Chosen
from approvals.web.pages.forms import CommentForm, DecisionForm, HandOnForm, ReasonForm
from approvals.web.pages.request_page import COMMENT, HAND_ON, ActForm, AnyForm

UNPRESSED = "Nothing was recorded: press the button for what you want."


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRecorded:
    """What the page shows: the request as it is now, the form that was sent, why it was not done."""

    asked: Any
    form: AnyForm | None = None
    notice: str = ""
    status: HTTPStatus = HTTPStatus.OK

    def finish(self, response: HttpResponse) -> HttpResponse:
        """Return the page with what its status asks for."""
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            response["Retry-After"] = "2"
        return response


def submit(actor: Actor, asked: Any, form: ActForm) -> NotRecorded | None:
    """Record the decision or answer in the form; edited arguments are shown once more before."""
    if form.rearranged:
        return NotRecorded(asked=asked, form=form, notice=UNPRESSED if form.unpressed else "")
    if not form.is_valid():
        return NotRecorded(asked=asked, form=form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    if isinstance(form, DecisionForm) and form.unreviewed and _can_decide(actor, asked):
        form.check_arguments()
        status = HTTPStatus.OK if form.is_valid() else HTTPStatus.UNPROCESSABLE_ENTITY
        return NotRecorded(asked=asked, form=form, status=status)
    said = form.cleaned_data
    if not queries.viewed_among(_person(actor), [asked.pk]):
        # It was opened by a link, or a moment ago by the page itself, which counts as seen after a while.
        record_view(actor, asked.pk)

    def write() -> object:
        if isinstance(form, DecisionForm):
            return deciding.decide(
                actor,
                asked.pk,
                said["decision"],
                comment=said["comment"],
                arguments=said["arguments"],
                answer=said.get("answer"),
            )
        return deciding.answer(actor, asked.pk, said["answer"], comment=said["comment"])

    return _record(actor, asked, write, form)


def decide_together(
    request: HttpRequest, chosen: Chosen, said: Mapping[str, Any]
) -> list[Outcome | ApprovalError]:
    """Decide those that the page shows, and return the outcome of each id, or why it is left as it was.

    Raises ApprovalError where the writer has no room for all of them: none is decided.
    """
    refused = {id_: refusal for id_ in chosen.ids if (refusal := chosen.refusal(id_))}
    sent = [id_ for id_ in chosen.ids if id_ not in refused]
    actor = actor_of_http(request, Channel.PAGE)
    decisions = [(id_, said["decision"]) for id_ in sent]
    recorded = deciding.decide_many(actor, decisions, comment=said["comment"])
    each = refused | dict(zip(sent, recorded, strict=True))
    return [each[id_] for id_ in chosen.ids]


def withdraw(request: HttpRequest, asked: Any) -> NotRecorded | None:
    """Withdraw the request, with the reason that was sent."""
    form = ReasonForm(request.POST)
    reason = form.cleaned_data["reason"] if form.is_valid() else ""
    actor = actor_of_http(request, Channel.PAGE)
    return _record(actor, asked, lambda: deciding.withdraw(actor, asked.pk, reason), None)


def hand_on(request: HttpRequest, asked: Any) -> NotRecorded | None:
    """Let others decide instead: those whom the form names."""
    form = HandOnForm(request.POST, auto_id=HAND_ON)
    if not form.is_valid():
        return NotRecorded(asked=asked, form=form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    actor, said = actor_of_http(request, Channel.PAGE), form.cleaned_data

    def write() -> object:
        users, groups = said["to"], list[str]()
        if queries.rights_of(user_id(request), asked).reassign:  # else nobody is told who there is
            users, groups = sort_names(users, "to")
        return deciding.reassign(actor, asked.pk, users, groups, reason=said["reason"])

    return _record(actor, asked, write, form)


def comment(request: HttpRequest, asked: Any) -> NotRecorded | None:
    """Record what somebody says about the request, or asks."""
    form = CommentForm(request.POST, auto_id=COMMENT)
    if not form.is_valid():
        return NotRecorded(asked=asked, form=form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    actor, said = actor_of_http(request, Channel.PAGE), form.cleaned_data
    return _record(
        actor, asked, lambda: deciding.comment(actor, asked.pk, said["text"], said["question"]), form
    )


def _record(
    actor: Actor, asked: Any, write: Callable[[], object], form: AnyForm | None
) -> NotRecorded | None:
    try:
        write()
    except UnknownRequest:
        raise
    except ApprovalError as error:
        return _refused(actor, asked, error, form)
    return None


def _refused(actor: Actor, asked: Any, error: ApprovalError, form: AnyForm | None) -> NotRecorded:
    status = STATUSES[error.code]
    if status == HTTPStatus.UNPROCESSABLE_ENTITY and form is not None:
        form.add_refusal(error)
        return NotRecorded(asked=asked, form=form, status=status)
    notice = f"{error.detail} What you sent was not recorded."
    fresh = queries.request_for(_person(actor), asked.pk)
    return NotRecorded(asked=fresh, form=form, notice=notice, status=status)


def _can_decide(actor: Actor, asked: Any) -> bool:
    return asked.status == Status.PENDING and queries.rights_of(_person(actor), asked).decide


def _person(actor: Actor) -> int:
    assert actor.user_id is not None  # noqa: S101 - pages are for people
    return actor.user_id
