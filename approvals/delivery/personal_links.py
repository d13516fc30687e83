"""Personal links: who opens one may decide one request, once, as the person it was sent to, without log-in.

A link has a token of 43 characters, and nothing in the database but how often it was fetched and when it
decided: base64url of 32 bytes, in the only spelling
that counts.

- 16 bytes: the id of the notification, which names the request and the person.
- 6 bytes: an HMAC-SHA256 over that id. It proves that the link is ours, so that a dead one may say why it is
  dead; it gives no right.
- 10 bytes: an HMAC-SHA256 over all that must still be so for the link to decide: the notification, the
  person, the hash that their sessions have (of the password, too), what was shown, who is named to decide
  and how often that has changed, and the moment at which the link expires.

Each has a salt of its own, by which its key is derived from SECRET_KEY; SECRET_KEY_FALLBACKS are accepted as
well. Both are cut short: what is guessed can only be tried at a server that limits requests by address, and
2^47 tries for an explanation, or 2^79 for a decision, are out of reach there. Whoever holds a dead link has
to guess the latter, too.

That the link is alive is no permission: the writer asks for that of this person at the moment of deciding.
"""

from __future__ import annotations

import binascii
import logging
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError
from django.utils.crypto import constant_time_compare, salted_hmac

from approvals import links, queries
from approvals.conf import approval_settings
from approvals.database.clock import database_now
from approvals.domain.lifecycle import Outcome, Severity, Status, is_overdue
from approvals.domain.payloads import canonical, digest
from approvals.domain.questions import meaning_of
from approvals.domain.request_terms import TERMS
from approvals.domain.telling import ASKING
from approvals.exceptions import LinkDead, LinkUsed
from approvals.queries import permissions
from approvals.queries.notices import Notice, link_was_used, notices
from approvals.writer import notifications

logger = logging.getLogger(__name__)

_OURS, _ALIVE = "approvals.personal_links.ours", "approvals.personal_links.alive"
_ID_BYTES, _OURS_BYTES, _ALIVE_BYTES = 16, 6, 10
# What requests could not say when the first links were sent: it is part of what was shown where it was said.
_LATER = [TERMS[name] for name in ("group", "decisions", "reason_required")]

OFF = "Links that decide without log-in are switched off."
OTHERS = "You may not decide this request any more."
EXPIRED = "Its time is over."
LOG_IN = "This request is decided after log-in only."
HANDED_ON = "Who decides this request has changed since the message was sent."
CHANGED = "Your password, the request or a setting has changed since the message was sent."


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalLink:
    """A link that we made, with what it is about, as read just now.

    `intact`: all is as it was when the link was made, but for what has become of the request.
    """

    notice: Notice
    intact: bool
    now: datetime

    @property
    def user(self) -> Any:
        """The person it was sent to."""
        return self.notice.notification.destination.user

    @property
    def expires_at(self) -> datetime:
        return _expires_at(self.notice)

    def count_fetch(self) -> None:
        """Count, on its notification, that somebody or something has fetched the link.

        The page is shown also where that can't be written: this is logged.
        """
        id_ = self.notice.notification.pk
        try:
            notifications.count_fetch(id_)
        except DatabaseError as error:
            logger.warning("fetch of a link not counted notification=%s error=%s", id_, type(error).__name__)

    def check(self) -> None:
        """Raise LinkUsed or LinkDead, which say why, unless the link can decide now."""
        if self.notice.request.status != Status.PENDING:
            if link_was_used(self.notice.notification.pk):
                raise LinkUsed(f"A link decides once, and this one did{self._result()}.")
            raise LinkDead(f"The request is closed{self._result()}.")
        if fault := self._fault():
            raise LinkDead(fault)

    def _fault(self) -> str:
        notice = self.notice
        if approval_settings().links != "personal":
            return OFF
        if notice.person is None or not permissions.may_decide(notice.person, notice.audience):
            return OTHERS
        if is_overdue(self.expires_at, self.now):
            return EXPIRED
        if not _is_for(notice):
            return LOG_IN
        if self.intact:
            return ""
        return HANDED_ON if queries.was_handed_on(notice.request, notice.notification.created_at) else CHANGED

    def _result(self) -> str:
        """Say how the request ended, to whom the link would still be good for."""
        if not self.intact or self.notice.person is None:
            return ""
        seen = permissions.may_see(self.notice.person, self.notice.audience)
        return f": {_in_words(queries.outcome_of(self.notice.request))}" if seen else ""


def address_for(notice: Notice) -> str:
    """Return the link for a message: a personal one where that may be, else that of the request's page.

    RuntimeError where SAYSO_URL is not set.
    """
    if is_personal(notice):
        return links.link_to("personal-link", token=make_token(notice))
    return links.link_to("request", request_id=notice.request.pk)


def is_personal(notice: Notice) -> bool:
    """Whether the message has a link that decides without log-in: none that would be dead."""
    alive = not is_overdue(_expires_at(notice), notice.read_at)
    return approval_settings().links == "personal" and _is_for(notice) and alive


def make_token(notice: Notice) -> str:
    """Return the token of a link that decides as long as all stays as it is now."""
    key, session = settings.SECRET_KEY, _user_of(notice).get_session_auth_hash()
    id_ = notice.notification.pk.bytes
    return _encode(id_ + _ours(id_, key) + _alive(_state(notice, session), key))


def find(token: str) -> PersonalLink | None:
    """Return the link with this token; None if we did not make it, or do not know its message any more."""
    raw = _decode(token)
    if raw is None:
        return None
    id_, ours, alive = raw[:_ID_BYTES], raw[_ID_BYTES:-_ALIVE_BYTES], raw[-_ALIVE_BYTES:]
    if not _is_among(ours, (_ours(id_, key) for key in _keys())):
        return None
    for notice in notices([UUID(bytes=id_)]):
        states = [_state(notice, session) for session in _sessions_of(notice)]
        intact = _is_among(alive, (_alive(state, key) for state in states for key in _keys()))
        return PersonalLink(notice=notice, intact=intact, now=database_now())
    return None


def _is_for(notice: Notice) -> bool:
    """Whether such a message, about such a request, may have a personal link: mail to the person's account.

    Others may read what is written to a chat or a program.
    """
    request = notice.request
    if not notice.notification.destination.is_of_account:
        return False
    simple = request.required == 1 and not request.four_eyes and request.severity != Severity.HIGH
    return simple and not request.confidential and notice.notification.event in ASKING


def _expires_at(notice: Notice) -> datetime:
    """Return when the link ends, counted from when its message was due first: that may wait for days."""
    row = notice.notification
    due_at = row.first_due_at or row.give_up_at - notifications.LONGEST_TRY
    latest = due_at + timedelta(hours=approval_settings().link_hours)
    deadline = notice.request.deadline
    return latest if deadline is None else min(latest, deadline)


def _state(notice: Notice, session: str) -> str:
    request, audience = notice.request, notice.audience
    around = {"context": request.context, "links": request.links, "metadata": request.metadata}
    asked = {"details": request.details, "requester": str(request.requester_id)}
    unsaid = {one.name for one in _LATER if getattr(request, one.name) == one.to_row(one.default)}
    meant = {name: value for name, value in meaning_of(request, None).items() if name not in unsaid}
    shown = {**asked, **around, **meant}
    return canonical(
        {
            "notification": str(notice.notification.pk),
            "person": str(_user_of(notice).pk),
            "session": session,
            "shown": digest(canonical(shown)),
            "users": sorted(map(str, audience.user_ids)),
            "groups": sorted(map(str, audience.group_ids)),
            "handed_on": notice.handed_on,
            "expires": _expires_at(notice).isoformat(),
        }
    )


def _user_of(notice: Notice) -> Any:
    return notice.notification.destination.user


def _sessions_of(notice: Notice) -> list[str]:
    user = _user_of(notice)
    return [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]


def _keys() -> tuple[str, ...]:
    return (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)


def _ours(id_: bytes, key: str) -> bytes:
    return _tag(_OURS, id_, key)[:_OURS_BYTES]


def _alive(state: str, key: str) -> bytes:
    return _tag(_ALIVE, state, key)[:_ALIVE_BYTES]


def _tag(salt: str, value: str | bytes, key: str) -> bytes:
    return salted_hmac(salt, value, secret=key, algorithm="sha256").digest()


def _is_among(given: bytes, tags: Iterable[bytes]) -> bool:
    return any(constant_time_compare(given, tag) for tag in tags)


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(token: str) -> bytes | None:
    """Return the 32 bytes; None for any other text, and for other spellings of the same bytes."""
    try:
        raw = urlsafe_b64decode(f"{token}=".encode("ascii"))
    except (UnicodeEncodeError, binascii.Error):
        return None
    whole = len(raw) == _ID_BYTES + _OURS_BYTES + _ALIVE_BYTES
    return raw if whole and _encode(raw) == token else None


def _in_words(outcome: Outcome) -> str:
    by = f" by {outcome.decided_by}" if outcome.decided_by else ""
    return f"{outcome.status.replace('_', ' ')}{by}"
