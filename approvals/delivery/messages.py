"""The words of a message about a request: a subject, a text, and the same as HTML without anything remote.

They are made when it is sent, from what is on record then, and kept nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from django.template.loader import render_to_string

from approvals import links
from approvals.conf import approval_settings
from approvals.delivery import personal_links
from approvals.domain.characters import hidden_runs
from approvals.domain.lifecycle import Kind, Severity, Status, Verdict
from approvals.domain.masking import hide_headers
from approvals.domain.payloads import shorten
from approvals.domain.telling import ASKING, Told
from approvals.queries.highlights import highlights_of
from approvals.queries.notices import Notice

# Of a message that says everything; the page has the rest.
DETAILS_LIMIT = 4_000
VALUE_LIMIT = 400
SAID_LIMIT = 2_000
TITLE_LIMIT = 150
# Of a digest; the inbox has the rest.
LINES_LIMIT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent by mail: `html` has the same words as `text`."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """What is written to a chat: fixed words, the title of a request ("": of none), and a link."""

    heading: str
    title: str
    link: str


def compose(notice: Notice) -> Message:
    """Write the message. RuntimeError where SAYSO_URL is not set: it has a link to the request."""
    words = _words(notice)
    return Message(
        subject=f"{words['heading']}: {shorten(words['title'], TITLE_LIMIT)}",
        text=render_to_string("approvals/message.txt", words).strip() + "\n",
        html=render_to_string("approvals/message.html", words),
    )


def compose_digest(notices: Sequence[Notice]) -> Message:
    """Write the one message that lists all of these, each with a link to its request."""
    greets, group = _greets(notices), _group_of(notices[0])
    number = "1 message" if len(notices) == 1 else f"{len(notices)} messages"
    words = {
        "heading": _waiting(notices) if greets else f"{number} about requests",
        "greets": greets,
        "limited": notices[0].limited,
        "group": group,
        "lines": [_line(notice) for notice in notices[:LINES_LIMIT]],
        "more": max(len(notices) - LINES_LIMIT, 0),
        "inbox": links.link_to("inbox"),
        "preferences": links.link_to("preferences"),
    }
    return Message(
        subject=str(words["heading"]) if greets else f"Your digest: {words['heading']}",
        text=render_to_string("approvals/digest.txt", words).strip() + "\n",
        html=render_to_string("approvals/digest.html", words),
    )


def compose_for_chat(notices: Sequence[Notice]) -> ChatMessage:
    """Write a line with a link about the only one of these, or one that says how many they are.

    The link leads to log-in: others may read the chat.
    """
    first = notices[0]
    if len(notices) == 1:
        return ChatMessage(**_line(first))
    heading = f"{len(notices)} messages about requests within an hour"
    if _greets(notices):
        heading = _waiting(notices)
    return ChatMessage(heading=heading, title="", link=links.link_to("inbox"))


def _greets(notices: Sequence[Notice]) -> bool:
    """Whether these are what waited when somebody was new."""
    return all(notice.notification.greets for notice in notices)


def _waiting(notices: Sequence[Notice]) -> str:
    """Say how many requests wait, and for whom."""
    number = f"More than {LINES_LIMIT}" if len(notices) > LINES_LIMIT else str(len(notices))
    wait = "request waits" if len(notices) == 1 else "requests wait"
    return f"{number} {wait} for {_group_of(notices[0]) or 'you'}"


def _group_of(notice: Notice) -> str:
    """Return the name of the group that this tells; "" for a person."""
    destination = notice.notification.destination
    return "" if destination.group_id is None else plain(destination.owner)


def _line(notice: Notice) -> dict[str, str]:
    words = _words_of_confidential(notice) if notice.request.confidential else _words_in_line(notice)
    return {
        **words,
        "link": links.link_to("request", request_id=notice.request.pk),
    }


def _words_in_line(notice: Notice) -> dict[str, str]:
    return {
        "heading": _heading(Told(notice.notification.event), notice.request),
        "title": shorten(plain(notice.request.title), TITLE_LIMIT),
    }


def _words_of_confidential(notice: Notice) -> dict[str, str]:
    """Say that there is something about a request, and nothing of what, by whom or until when."""
    waits = Told(notice.notification.event) in ASKING
    return {"heading": "Waits for you" if waits else "News", "title": "a confidential request"}


def plain(text: str) -> str:
    """Return the text with characters that are not seen, or turn the reading direction, named: `[U+202E]`."""
    parts, last = [], 0
    for first, after in hidden_runs(text):
        named = "".join(f"[U+{ord(character):04X}]" for character in text[first:after])
        parts += [text[last:first], named]
        last = after
    return "".join([*parts, text[last:]])


def _words(notice: Notice) -> dict[str, Any]:
    """Return the words for the templates."""
    if not notice.request.confidential:
        return _words_of_request(notice)
    return {
        **_words_of_confidential(notice),
        "sentence": "Open it to read what it is about: that is not for messages.",
        "link": links.link_to("request", request_id=notice.request.pk),
        "preferences": links.link_to("preferences"),
    }


def _words_of_request(notice: Notice) -> dict[str, Any]:
    request, event = notice.request, Told(notice.notification.event)
    detail = approval_settings().message_detail
    asker = request.requester.get_username() if request.requester else "A program"
    return {
        "heading": _heading(event, request),
        "title": plain(request.title),
        "sentence": plain(_sentence(event, request, asker, notice.by or "A program")),
        "severe": request.severity == Severity.HIGH,
        "said": plain(shorten(notice.said, SAID_LIMIT)) if detail != "title" else "",
        "arguments": _arguments(request, detail),
        "details": plain(shorten(request.details, DETAILS_LIMIT)) if detail == "full" else "",
        "deadline": _deadline(request, notice.zone) if request.status == Status.PENDING else "",
        "link": personal_links.address_for(notice),
        "group": _group_of(notice),
        "decides_as": plain(_decides_as(notice)),
        "preferences": links.link_to("preferences"),
    }


def _decides_as(notice: Notice) -> str:
    """Return as whom the message's link decides; "" where it leads to log-in."""
    return notice.notification.destination.owner if personal_links.is_personal(notice) else ""


def _heading(event: Told, request: Any) -> str:
    asked = "Approve or reject" if request.kind == Kind.APPROVAL else "A question for you"
    return {
        Told.OPENED: asked,
        Told.REMINDER: f"Reminder: {asked[0].lower()}{asked[1:]}",
        Told.REASSIGNED: f"Handed to you: {asked[0].lower()}{asked[1:]}",
        Told.ESCALATED: f"Escalated to you: {asked[0].lower()}{asked[1:]}",
        Told.QUESTION: "A question about what you asked",
        Told.REPLY: "A reply to your question",
        Told.CLOSED: _outcome(request),
    }[event]


def _sentence(event: Told, request: Any, asker: str, by: str) -> str:
    wants = "your approval" if request.kind == Kind.APPROVAL else "an answer"
    return {
        Told.OPENED: f"{asker} asks for {wants}.",
        Told.REMINDER: f"{asker} still waits for {wants}.",
        Told.REASSIGNED: f"{by} handed this to you. {asker} asks for {wants}.",
        Told.ESCALATED: f"Nobody has decided this so far. {asker} asks for {wants}.",
        Told.QUESTION: f"{by} has a question about what you asked.",
        Told.REPLY: f"{by} replied to your question.",
        Told.CLOSED: f"{_outcome(request)}.",
    }[event]


def _outcome(request: Any) -> str:
    status = str(request.status).replace("_", " ").capitalize()
    if request.kind == Kind.APPROVAL and request.status == Status.ANSWERED:
        status = "Not approved, but answered"
    return f"{status} by {request.decided_by.get_username()}" if request.decided_by else status


def _arguments(request: Any, detail: str) -> list[tuple[str, str]]:
    if detail == "title":
        return []
    if detail == "summary":
        return [(plain(name), plain(text)) for name, text in highlights_of(request)]
    return [(plain(name), plain(_text_of(value))) for name, value in hide_headers(request.arguments).items()]


def _text_of(value: Any) -> str:
    return shorten(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), VALUE_LIMIT)


def _deadline(request: Any, zone: tzinfo) -> str:
    """Say until when somebody may decide, and what happens then."""
    if request.deadline is None:
        return ""
    then = "the default answer counts"
    if request.kind == Kind.APPROVAL:
        then = "it is approved" if request.on_timeout == Verdict.APPROVE else "it is rejected"
    return f"Until {_moment(request.deadline, zone)}. If nobody decides by then, {then}."


def _moment(moment: datetime, zone: tzinfo) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M} {zone}"
