"""Signed messages about requests for the webhooks of people and groups, by the Standard Webhooks scheme.

The body is `{"type": "request.opened", "timestamp": …, "data": {"to": …, "request": {…}}}`, with a `comment`
where somebody has said something, and an `outcome` where the request is closed. What waits for a destination
that is new comes in one: `{"type": "requests.waiting", …, "data": {"to": …, "requests": [{…}, …]}}`. It is
made when it is posted, from what is on record then; its `webhook-id` is the same at each attempt.
SAYSO_MESSAGE_DETAIL says how much of the request it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from approvals import links, queries
from approvals.conf import approval_settings
from approvals.delivery.messages import LINES_LIMIT
from approvals.delivery.webhooks.messages import Message, secrets_of, secrets_of_group, signed
from approvals.domain.masking import hide_headers
from approvals.domain.payloads import canonical
from approvals.domain.telling import Told
from approvals.queries.highlights import highlights_of
from approvals.queries.notices import Notice
from approvals.writer.notifications import Due, message_number


def message_of(due: Due) -> Message:
    """Return the signed message. RuntimeError where SAYSO_URL is not set: it has a link to the request."""
    destination = due.destination
    secrets = (
        secrets_of(destination.user_id)
        if destination.group_id is None
        else secrets_of_group(destination.group_id)
    )
    body = _body(due.notice) if due.notice.notification.digest is None else _body_of_all(due.live)
    number = message_number(due.notice.notification)
    return signed(str(number), due.claimed_at, canonical(body), secrets)


def _body(notice: Notice) -> dict[str, Any]:
    notification = notice.notification
    return {
        "type": f"request.{notification.event}",
        "timestamp": queries.moment_on_the_wire(notification.created_at),
        "data": {
            "to": _to(notice),
            **(_that_it_is(notice) if notice.request.confidential else _words(notice)),
        },
    }


def _body_of_all(notices: Sequence[Notice]) -> dict[str, Any]:
    """Say of several requests what `request.opened` says of each; `more`: there are more."""
    listed = [_that_it_is(one) if one.request.confidential else _words(one) for one in notices[:LINES_LIMIT]]
    return {
        "type": "requests.waiting",
        "timestamp": queries.moment_on_the_wire(notices[0].notification.created_at),
        "data": {
            "to": _to(notices[0]),
            "requests": [one["request"] for one in listed],
            "more": len(notices) > LINES_LIMIT,
        },
    }


def _that_it_is(notice: Notice) -> dict[str, Any]:
    """Say of a confidential request where it is, and nothing else."""
    request_id = str(notice.request.pk)
    url = links.link_to("request", request_id=request_id)
    return {"request": {"id": request_id, "url": url, "confidential": True}}


def _words(notice: Notice) -> dict[str, Any]:
    return {"request": _request(notice.request), **_comment(notice), **_outcome(notice)}


def _to(notice: Notice) -> dict[str, str]:
    destination = notice.notification.destination
    return {"user" if destination.group_id is None else "group": destination.owner}


def _request(request: Any) -> dict[str, Any]:
    said = {
        "id": str(request.pk),
        "url": links.link_to("request", request_id=request.pk),
        "kind": request.kind,
        "title": request.title,
        "status": request.status,
        "severity": request.severity,
        "requester": request.requester.get_username() if request.requester else None,
        "opened_at": queries.moment_on_the_wire(request.opened_at),
        "deadline": queries.moment_on_the_wire(request.deadline),
    }
    detail = approval_settings().message_detail
    if detail == "summary":
        said["arguments"] = dict(highlights_of(request))
    elif detail == "full":
        said |= {"arguments": hide_headers(request.arguments), "details": request.details}
    return said


def _comment(notice: Notice) -> dict[str, Any]:
    """Return what was said and by whom; None is a program."""
    said = notice.notification.event in {Told.QUESTION, Told.REPLY}
    if not said or approval_settings().message_detail == "title":
        return {}
    return {"comment": {"by": notice.by, "text": notice.said}}


def _outcome(notice: Notice) -> dict[str, Any]:
    if notice.notification.event != Told.CLOSED:
        return {}
    outcome, full = queries.outcome_of(notice.request), approval_settings().message_detail == "full"
    return {
        "outcome": queries.outcome_on_the_wire(outcome)
        if full
        else queries.outcome_summary_on_the_wire(outcome)
    }
