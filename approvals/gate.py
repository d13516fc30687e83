"""How a program asks people and waits: request_approval, request_clarification, wait_for_outcome.

Asking writes a row; waiting is a future in this process's waiting room, woken by what that row has become.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Unpack
from uuid import UUID

from django.contrib.auth.models import Group

from approvals import queries
from approvals.conf import approval_settings
from approvals.database.fields import new_id
from approvals.database.threads import in_database
from approvals.database.transactions import arefuse_inside_a_transaction, refuse_inside_a_transaction
from approvals.deciding import awithdraw
from approvals.delivery.webhooks.targets import check_callback_url
from approvals.domain import questions
from approvals.domain.commands import Accepted, Actor, Channel, OpenRequest
from approvals.domain.lifecycle import Kind, Outcome, Verdict
from approvals.domain.payloads import seconds
from approvals.domain.questions import REVIEWERS as REVIEWERS  # noqa: PLC0414 - asked for by this name here
from approvals.domain.request_terms import DETAILS_LIMIT as DETAILS_LIMIT  # noqa: PLC0414 - as REVIEWERS
from approvals.domain.request_terms import KEY_LIMIT as KEY_LIMIT  # noqa: PLC0414 - as REVIEWERS
from approvals.domain.request_terms import (
    TERMS,
    CommonTerms,
    Place,
    TermsOfApproval,
    TermsOfClarification,
    check_terms,
    help_of,
    size_of,
    terms_in,
)
from approvals.domain.term_rules import OMITTED as OMITTED  # noqa: PLC0414 - as REVIEWERS
from approvals.domain.term_rules import TITLE_LIMIT as TITLE_LIMIT  # noqa: PLC0414 - as REVIEWERS
from approvals.domain.term_rules import check_origin
from approvals.exceptions import InvalidRequest
from approvals.queries.assignees import check_deciders, group_ids_of, user_ids_of
from approvals.queries.escalation import find_steps
from approvals.queries.permissions import Audience
from approvals.waiting.waiting_room import waiting_room
from approvals.writer import queue


class Terms(CommonTerms, total=False):
    """What every request may say about itself, and how it is asked."""

    key_scope: str | None
    """Whose `key` it is, where that is neither the run nor the requester."""
    new_round: bool
    """Where the key's request is closed, open another instead of returning its outcome."""
    asked_since: datetime | None
    """Where the key's request is closed and was opened before this moment, open another."""
    actor: Actor
    """Who opens the request; omitted: this installation's own code."""
    named: Any
    """The assignees as the asker named them, where they come looked up (see approvals.domain.questions)."""
    named_four_eyes: bool
    """Four eyes as the asker asked for them, where what holds comes from elsewhere."""
    override: dict[str, Any]
    """By whose word others decide than the asker named: JSON without fractions, for the trail."""
    former_fingerprint: str
    """What the question hashed to before fingerprints had a mark; what was asked then is compared by it."""


class ApprovalTerms(Terms, TermsOfApproval, total=False):
    """The keyword arguments that ask for an approval."""


class ClarificationTerms(Terms, TermsOfClarification, total=False):
    """The keyword arguments that ask for a clarification."""


ApprovalTerms.__doc__ = f"{ApprovalTerms.__doc__}\n\n{help_of(Kind.APPROVAL)}"
ClarificationTerms.__doc__ = f"{ClarificationTerms.__doc__}\n\n{help_of(Kind.CLARIFICATION)}"


@dataclass(frozen=True, slots=True)
class Resolved:
    """Assignees whose names have been looked up: the ids of active users, and of groups."""

    user_ids: tuple[int, ...] = ()
    group_ids: tuple[int, ...] = ()


_KEYWORDS = {
    Kind.APPROVAL: ApprovalTerms.__optional_keys__,
    Kind.CLARIFICATION: ClarificationTerms.__optional_keys__,
}
# How a request is asked, under the names that a command has for it, too.
_HOW = Terms.__optional_keys__ - CommonTerms.__optional_keys__


async def request_approval(
    title: str, *, patience: float | timedelta | None = None, **terms: Unpack[ApprovalTerms]
) -> Outcome:
    """Ask people to approve an exact action; return what was decided, or what the deadline decided.

    `help(ApprovalTerms)` says what each term means. `patience` limits how long this call waits, in seconds:
    then StillPending, and the request stays open.
    Raises InvalidRequest naming the field (nothing is recorded then), KeyConflict, Busy, Unavailable.
    """
    return await _ask_and_wait(Kind.APPROVAL, title, terms, patience)


async def request_clarification(
    title: str, *, patience: float | timedelta | None = None, **terms: Unpack[ClarificationTerms]
) -> Outcome:
    """Ask people a question: free text, one or several of `choices`, or data that fits `schema`.

    `help(ClarificationTerms)` says what each term means. Waits and raises as `request_approval` does.
    """
    return await _ask_and_wait(Kind.CLARIFICATION, title, terms, patience)


def open_approval(title: str, **terms: Unpack[ApprovalTerms]) -> str:
    """Ask without waiting, from synchronous code outside a transaction; the request's id once on record.

    Raises as `request_approval` does.
    """
    return open_or_find(Kind.APPROVAL, title, terms).outcome.request_id


def open_clarification(title: str, **terms: Unpack[ClarificationTerms]) -> str:
    """Ask without waiting, from synchronous code outside a transaction; the request's id once on record.

    Raises as `request_approval` does.
    """
    return open_or_find(Kind.CLARIFICATION, title, terms).outcome.request_id


def open_or_find(kind: Kind, title: str, terms: Mapping[str, Any]) -> Accepted:
    """As `open_approval` and `open_clarification`; `changed` is false where the `key` had asked before."""
    refuse_inside_a_transaction()
    command = _command_or_outcome(kind, title, terms)
    if isinstance(command, Outcome):
        return Accepted(outcome=command, changed=False)
    return queue.write_result(command)


async def aopen_approval(title: str, **terms: Unpack[ApprovalTerms]) -> str:
    """As `open_approval`, for coroutines."""
    return (await _aopen_or_find(Kind.APPROVAL, title, terms)).request_id


async def aopen_clarification(title: str, **terms: Unpack[ClarificationTerms]) -> str:
    """As `open_clarification`, for coroutines."""
    return (await _aopen_or_find(Kind.CLARIFICATION, title, terms)).request_id


async def wait_for_outcome(request_id: UUID | str, patience: float | timedelta | None = None) -> Outcome:
    """Wait until the request is closed, whoever asked, in whichever process.

    Raises UnknownRequest, and StillPending after `patience` seconds.
    """
    await arefuse_inside_a_transaction()
    return await waiting_room().wait(queries.as_id(request_id), patience)


async def withdraw(request_id: UUID | str, reason: str = "") -> Outcome:
    """Take a question back, as the program that asked it. Raises UnknownRequest, AlreadyDecided, TooLate."""
    return await awithdraw(Actor.program(), request_id, reason)


def outcome(request_id: UUID | str) -> Outcome:
    """Return what is on record now, without waiting. Raises UnknownRequest."""
    found = queries.outcomes([queries.as_id(request_id)])
    for known in found.values():
        return known
    raise queries.unknown_request(request_id)


async def aoutcome(request_id: UUID | str) -> Outcome:
    """As `outcome`, for coroutines."""
    return await in_database(outcome, request_id)


def on_record(kind: Kind, title: str, terms: Mapping[str, Any]) -> Outcome | None:
    """Return what has come of this very question, if it was asked under its `key` before; else None.

    Nothing is held against it: what was allowed when it was asked, stays on record.
    """
    try:
        key = TERMS["key"].check(terms.get("key"), terms)
        row = queries.request_of_key(_scope_of(terms), key) if key else None
        if row is None or row.purged_at is not None:
            return None
        differs = questions.differences(
            meaning(kind, title, terms),
            row,
            terms.get("former_fingerprint", ""),
            four_eyes_elsewhere="named_four_eyes" in terms,
        )
    except (InvalidRequest, ValueError, TypeError, RecursionError):  # such a question can't be on record
        return None
    if differs or questions.is_past(row, terms.get("new_round", False), terms.get("asked_since")):
        return None
    return queries.outcome_of(row)


def meaning(kind: Kind, title: str, terms: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that decides what an answer to the question stands for, of terms that nobody has checked."""
    said = {"title": title, **terms}
    asked = {
        one.name: one.to_row(said.get(one.name, one.omitted if one.kind in (None, kind) else one.default))
        for one in terms_in(Place.MEANING)
    }
    asked["arguments"] = asked["arguments"] or {}
    for name in ("default", "decisions"):  # what can be said in several ways
        with suppress(InvalidRequest, TypeError):
            asked[name] = TERMS[name].check(asked[name], asked)
    if "named_four_eyes" in terms:
        asked["four_eyes"] = terms["named_four_eyes"]
    named = (
        terms["named"]
        if "named" in terms
        else questions.assignees_as_named(terms.get("assignees", REVIEWERS))
    )
    return asked | {"kind": kind.value, "assignees": named}


async def _ask_and_wait(
    kind: Kind, title: str, terms: Mapping[str, Any], patience: float | timedelta | None
) -> Outcome:
    patience = seconds(patience, "patience", none_allowed=True)  # before anything is recorded
    opened = await _aopen_or_find(kind, title, terms)
    return opened if opened.closed else await waiting_room().wait(UUID(opened.request_id), patience)


async def _aopen_or_find(kind: Kind, title: str, terms: Mapping[str, Any]) -> Outcome:
    await arefuse_inside_a_transaction()
    command = await in_database(_command_or_outcome, kind, title, terms)
    return command if isinstance(command, Outcome) else await queue.awrite(command)


def _command_or_outcome(kind: Kind, title: str, terms: Mapping[str, Any]) -> OpenRequest | Outcome:
    """Return the command that asks; or, of what may not be asked any more but was, what has come of it."""
    if unknown := terms.keys() - _KEYWORDS[kind]:
        raise TypeError(f"{kind.value}s have no such term: {', '.join(sorted(unknown))}")
    if isinstance(assignees := terms.get("assignees"), Iterator):
        terms = {**terms, "assignees": list(assignees)}  # looked at more than once
    try:
        return _command_of(kind, title, terms)
    except InvalidRequest:
        outcome = on_record(kind, title, terms)
        if outcome is None:
            raise
        return outcome


def check_asked(kind: Kind, title: str, terms: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that the request says, as it will be recorded; InvalidRequest names the term at fault.

    Who asks and who is named is not looked up.
    """
    said = {"timeout": OMITTED, **terms, "title": title}
    if said["timeout"] is OMITTED:
        said["timeout"] = approval_settings().default_timeout
    asked = check_terms(kind, said)
    _check_contradiction(asked)
    check_callback_url(asked["callback_url"])
    return asked


def _command_of(kind: Kind, title: str, terms: Mapping[str, Any]) -> OpenRequest:
    asked = check_asked(kind, title, terms)
    requester_id, named = _people_of(terms)
    audience = Audience(
        requester_id=requester_id,
        user_ids=frozenset(named.user_ids),
        group_ids=frozenset(named.group_ids),
        four_eyes=asked.get("four_eyes", False),
    )
    required = asked.get("required", 1)
    check_deciders(audience, required)
    asked["escalation"] = find_steps(asked["escalation"], audience, required)
    how = {name: terms[name] for name in _HOW & terms.keys()}
    if how.get("actor") is None:
        how["actor"] = Actor.program()
    if how.get("key_scope") is None:
        how["key_scope"] = _scope(asked["origin"], requester_id)
    if asked["key"]:
        meant = meaning(kind, title, terms)
        how |= {"named": meant["assignees"], "fingerprint": questions.fingerprint(meant)}
    command = OpenRequest(
        request_id=new_id(),
        kind=kind,
        requester_id=requester_id,
        user_ids=named.user_ids,
        group_ids=named.group_ids,
        **asked,
        **how,
    )
    counted = command.actor.channel is Channel.API
    return replace(command, counted_bytes=size_of(command)) if counted else command


def _people_of(terms: Mapping[str, Any]) -> tuple[int | None, Resolved]:
    """Who asks and who is named, looked up."""
    requester, assignees = terms.get("requester"), terms.get("assignees", REVIEWERS)
    actor: Actor | None = terms.get("actor")
    if requester is None or (actor is not None and actor.user_id == requester):
        requester_id = requester  # whoever acts was looked up to act
    else:
        requester_id = user_ids_of([requester], "requester")[0]
    if isinstance(assignees, Resolved):
        return requester_id, assignees
    named = _check_assignees(assignees)
    groups = [one for one in named if isinstance(one, Group)]
    users = [one for one in named if not isinstance(one, Group)]
    return requester_id, Resolved(user_ids_of(users, "assignees"), group_ids_of(groups, "assignees"))


def _check_assignees(assignees: object) -> list[Any]:
    if assignees is REVIEWERS:
        return []
    if isinstance(assignees, str) or not isinstance(assignees, Iterable):
        raise InvalidRequest("assignees must be a list of users and groups.", field="assignees")
    named = list(assignees)
    if not named:
        raise InvalidRequest(
            "assignees must name somebody; REVIEWERS (from approvals.gate) names any reviewer.",
            field="assignees",
        )
    return named


def _scope_of(terms: Mapping[str, Any]) -> str:
    """Whose the key is, also where the requester may ask nothing any more."""
    if (scope := terms.get("key_scope")) is not None:
        return str(scope)
    requester = terms.get("requester")
    if requester is not None and type(requester) is not int:
        requester = user_ids_of([requester], "requester", active=False)[0]
    return _scope(check_origin(terms.get("origin")), requester)


def _scope(origin: Mapping[str, str], requester_id: int | None) -> str:
    """Return whose the key is: the run's, else the requester's, else nobody's in particular."""
    if origin.get("kind") == "run":
        return f"run:{origin['id']}"
    return "" if requester_id is None else questions.scope_of_user(requester_id)


def _check_contradiction(asked: Mapping[str, Any]) -> None:
    """Refuse a deadline that approves what two people, or somebody else than the requester, must approve."""
    if asked.get("on_timeout") != Verdict.APPROVE or approval_settings().approve_on_timeout == "any":
        return
    if asked["required"] > 1 or asked["four_eyes"]:
        strict = "four_eyes" if asked["four_eyes"] else "required above 1"
        raise InvalidRequest(
            f"on_timeout can't be 'approve' together with {strict}: nobody would have approved it. Where that"
            " is meant, the setting SAYSO_APPROVE_ON_TIMEOUT=any allows it.",
            field="on_timeout",
        )
