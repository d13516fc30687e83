"""How a program asks people and waits: request_approval, request_clarification, wait_for_outcome.

Asking writes a row; waiting is a future in this process's waiting room, woken by what that row has become.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypedDict, Unpack
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
from approvals.domain.lifecycle import DEFAULT_ANSWER, Kind, Outcome, Verdict
from approvals.domain.lookalikes import check_names, check_offers
from approvals.domain.payloads import canonical, checked_json, checked_text, seconds
from approvals.domain.questions import REVIEWERS as REVIEWERS  # noqa: PLC0414 - asked for by this name here
from approvals.domain.schemas import Choices, check_against, check_choice, check_choices, check_schema
from approvals.exceptions import InvalidRequest
from approvals.queries.assignees import check_deciders, group_ids_of, user_ids_of
from approvals.queries.permissions import Audience
from approvals.waiting.room import waiting_room
from approvals.writer import queue

TITLE_LIMIT = 200
KEY_LIMIT = 200
DETAILS_LIMIT = 100_000

# Where an origin's link may lead: the web, or a page of this site; never to a script.
_LINK = re.compile(r"https?://|/(?!/)|$")


class _Omitted:
    """Stands for a default that was not given: None is a default like any other."""

    def __repr__(self) -> str:
        return "…"


OMITTED: Any = _Omitted()


class Terms(TypedDict, total=False):
    """What every request may say about itself, beside its question."""

    details: str
    """Markdown for the reviewer."""
    requester: Any
    """Who asks, or on whose behalf: a user, or a username."""
    assignees: Collection[Any]
    """Users and groups who may decide (or usernames); REVIEWERS, or omitted: whoever has the permission."""
    timeout: float | timedelta | None
    """Seconds to the deadline, above 0; None: no deadline; omitted: the installation's default."""
    key: str | None
    """Asking again under the same key finds the same request. Of the run, else of the requester."""
    origin: dict[str, str] | None
    """What asked: `{kind, id, url}`."""
    key_scope: str | None
    """Whose `key` it is, where that is neither the run nor the requester."""
    new_round: bool
    """Where the key's request is closed, open another instead of returning its outcome."""
    asked_since: datetime | None
    """Where the key's request is closed and was opened before this moment, open another."""
    actor: Actor
    """Who opens the request; omitted: this installation's own code."""
    callback_url: str
    """Where the outcome is posted, signed, until it is received (see docs/api.md)."""
    named: Any
    """The assignees as the asker named them, where they come looked up (see approvals.domain.questions)."""
    named_four_eyes: bool
    """Four eyes as the asker asked for them, where what holds comes from elsewhere."""
    override: dict[str, Any]
    """By whose word others decide than the asker named: JSON without fractions, for the trail."""
    former_fingerprint: str
    """What the question hashed to before fingerprints had a mark; what was asked then is compared by it."""


class ApprovalTerms(Terms, total=False):
    arguments: dict[str, Any] | None
    """The exact action; its SHA-256 is on record."""
    editable: bool | dict[str, Any]
    """May the approver change `arguments`? True, or the JSON Schema that the changed ones must fit."""
    required: int
    """Approvals needed; one rejection rejects."""
    four_eyes: bool
    """True: neither the requester nor whoever reassigns it may decide."""
    on_timeout: str
    """What the deadline decides: "reject", or, where one approval is enough, "approve"."""


class ClarificationTerms(Terms, total=False):
    choices: Collection[str] | Mapping[str, str] | None
    """Options to pick from; as a dict, with the label that people read for each value."""
    multiple: bool
    """True: any number of the choices; the answer is a list."""
    schema: dict[str, Any] | None
    """JSON Schema of a structured answer."""
    default: Any
    """The answer when the deadline passes."""


async def request_approval(
    title: str, *, patience: float | timedelta | None = None, **terms: Unpack[ApprovalTerms]
) -> Outcome:
    """Ask people to approve an exact action; return what was decided, or what the deadline decided.

    `patience` limits how long this call waits, in seconds: then StillPending, and the request stays open.
    Raises InvalidRequest naming the field (nothing is recorded then), KeyConflict, Busy, Unavailable.
    """
    return await _asked(Kind.APPROVAL, title, terms, patience)


async def request_clarification(
    title: str, *, patience: float | timedelta | None = None, **terms: Unpack[ClarificationTerms]
) -> Outcome:
    """Ask people a question: free text, one or several of `choices`, or data that fits `schema`.

    Raises as `request_approval` does.
    """
    return await _asked(Kind.CLARIFICATION, title, terms, patience)


def open_approval(title: str, **terms: Unpack[ApprovalTerms]) -> str:
    """Ask without waiting, from synchronous code outside a transaction; the request's id once on record."""
    return opened_approval(title, **terms).outcome.request_id


def open_clarification(title: str, **terms: Unpack[ClarificationTerms]) -> str:
    """Ask without waiting, from synchronous code outside a transaction; the request's id once on record."""
    return opened_clarification(title, **terms).outcome.request_id


def opened_approval(title: str, **terms: Unpack[ApprovalTerms]) -> Accepted:
    """As `open_approval`; `changed` is false where the `key` had asked before."""
    return _opened(Kind.APPROVAL, title, terms)


def opened_clarification(title: str, **terms: Unpack[ClarificationTerms]) -> Accepted:
    """As `open_clarification`; `changed` is false where the `key` had asked before."""
    return _opened(Kind.CLARIFICATION, title, terms)


async def aopen_approval(title: str, **terms: Unpack[ApprovalTerms]) -> str:
    return (await _aopened(Kind.APPROVAL, title, terms)).request_id


async def aopen_clarification(title: str, **terms: Unpack[ClarificationTerms]) -> str:
    return (await _aopened(Kind.CLARIFICATION, title, terms)).request_id


async def wait_for_outcome(request_id: UUID | str, patience: float | timedelta | None = None) -> Outcome:
    """Wait until the request is closed, whoever asked, in whichever process.

    Raises UnknownRequest, and StillPending after `patience` seconds.
    """
    await arefuse_inside_a_transaction()
    return await waiting_room().wait(queries.as_id(request_id), patience)


async def withdraw(request_id: UUID | str, reason: str = "") -> Outcome:
    """Take a question back, as the program that asked it."""
    return await awithdraw(Actor.program(), request_id, reason)


def outcome(request_id: UUID | str) -> Outcome:
    """What is on record now, without waiting."""
    found = queries.outcomes([queries.as_id(request_id)])
    for known in found.values():
        return known
    raise queries.unknown_request(request_id)


async def aoutcome(request_id: UUID | str) -> Outcome:
    return await in_database(outcome, request_id)


def on_record(kind: Kind, title: str, terms: Mapping[str, Any]) -> Outcome | None:
    """What has come of this very question, if it was asked under its `key` before; else None.

    Nothing is held against it: what was allowed when it was asked, stays on record.
    """
    try:
        key = checked_text(terms.get("key") or "", "key", max_length=KEY_LIMIT)
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
    """All that decides what an answer to the question stands for, of terms that nobody has checked yet."""
    choices, schema, multiple = terms.get("choices"), terms.get("schema"), terms.get("multiple", False)
    default = terms.get("default", OMITTED) if kind is Kind.CLARIFICATION else None
    with suppress(InvalidRequest, TypeError):
        default = _default_answer(choices, multiple, schema, default)
    named = terms["named"] if "named" in terms else questions.named(terms.get("assignees", REVIEWERS))
    return {
        "kind": kind.value,
        "title": title,
        "arguments": terms.get("arguments") or {},
        "choices": choices,
        "multiple": multiple,
        "schema": schema,
        "default": default,
        "editable": terms.get("editable", False),
        "required": terms.get("required", 1),
        "four_eyes": terms.get("named_four_eyes", terms.get("four_eyes", False)),
        "on_timeout": terms.get("on_timeout", Verdict.REJECT) if kind is Kind.APPROVAL else "",
        "assignees": named,
    }


async def _asked(
    kind: Kind, title: str, terms: Mapping[str, Any], patience: float | timedelta | None
) -> Outcome:
    patience = seconds(patience, "patience", none_allowed=True)  # before anything is recorded
    opened = await _aopened(kind, title, terms)
    return opened if opened.closed else await waiting_room().wait(UUID(opened.request_id), patience)


def _opened(kind: Kind, title: str, terms: Mapping[str, Any]) -> Accepted:
    refuse_inside_a_transaction()
    command = _command_or_outcome(kind, title, terms)
    if isinstance(command, Outcome):
        return Accepted(outcome=command, changed=False)
    return queue.write_result(command)


async def _aopened(kind: Kind, title: str, terms: Mapping[str, Any]) -> Outcome:
    await arefuse_inside_a_transaction()
    command = await in_database(_command_or_outcome, kind, title, terms)
    return command if isinstance(command, Outcome) else await queue.awrite(command)


def _command_or_outcome(kind: Kind, title: str, terms: Mapping[str, Any]) -> OpenRequest | Outcome:
    """The command that asks; or, of what must not be asked any more but was, what has come of that."""
    if isinstance(assignees := terms.get("assignees"), Iterator):
        terms = {**terms, "assignees": list(assignees)}  # looked at more than once
    try:
        return _command_of(kind, title, terms)
    except InvalidRequest:
        outcome = on_record(kind, title, terms)
        if outcome is None:
            raise
        return outcome


def _command_of(kind: Kind, title: str, terms: Mapping[str, Any]) -> OpenRequest:
    command = _COMMANDS[kind](title, **terms)
    if not command.key:
        return command
    asked = meaning(kind, title, terms)
    return replace(command, named=asked["assignees"], fingerprint=questions.fingerprint(asked))


def _approval(
    title: str,
    *,
    arguments: dict[str, Any] | None = None,
    editable: bool | dict[str, Any] = False,
    required: int = 1,
    four_eyes: bool = False,
    on_timeout: str = Verdict.REJECT,
    **terms: Any,
) -> OpenRequest:
    if arguments is not None and not isinstance(arguments, dict):
        raise InvalidRequest("arguments must be a JSON object.", field="arguments")
    if not isinstance(on_timeout, str) or on_timeout not in set(Verdict):
        raise InvalidRequest("on_timeout must be 'approve' or 'reject'.", field="on_timeout")
    _check_required(required)
    if not isinstance(four_eyes, bool):
        raise InvalidRequest("four_eyes must be true or false.", field="four_eyes")
    _check_contradiction(on_timeout, required, four_eyes=four_eyes)
    editable = _checked_editable(editable, required)
    return _command(
        Kind.APPROVAL,
        title,
        arguments=_checked_arguments(arguments or {}),
        editable=editable,
        required=required,
        four_eyes=four_eyes,
        on_timeout=Verdict(on_timeout),
        **terms,
    )


def _clarification(
    title: str,
    *,
    choices: Collection[str] | Mapping[str, str] | None = None,
    multiple: bool = False,
    schema: dict[str, Any] | None = None,
    default: Any = OMITTED,
    **terms: Any,
) -> OpenRequest:
    if choices is not None and schema is not None:
        raise InvalidRequest("schema can't be given together with choices.", field="schema")
    if multiple and choices is None:
        raise InvalidRequest("multiple needs choices to pick from.", field="multiple")
    options = None if choices is None else _options(choices, multiple)
    if schema is not None:
        schema = _checked_schema(schema, "schema")
    return _command(
        Kind.CLARIFICATION,
        title,
        choices=options,
        multiple=multiple,
        schema=schema,
        default=_default_answer(options, multiple, schema, default),
        **terms,
    )


def _command(
    kind: Kind,
    title: str,
    *,
    details: str = "",
    requester: Any = None,
    assignees: Collection[Any] = REVIEWERS,
    timeout: float | timedelta | None = OMITTED,
    key: str | None = None,
    origin: dict[str, str] | None = None,
    key_scope: str | None = None,
    new_round: bool = False,
    asked_since: datetime | None = None,
    actor: Actor | None = None,
    callback_url: str = "",
    named: Any = None,
    named_four_eyes: bool | None = None,
    override: dict[str, Any] | None = None,
    former_fingerprint: str = "",
    **asked: Any,
) -> OpenRequest:
    title = checked_text(title, "title", max_length=TITLE_LIMIT, required=True, one_line=True, seen=True)
    details = checked_text(details, "details", max_length=DETAILS_LIMIT)
    timeout = approval_settings().default_timeout if timeout is OMITTED else timeout
    timeout = seconds(timeout, "timeout", none_allowed=True, zero_allowed=False)
    key = checked_text("" if key is None else key, "key", max_length=KEY_LIMIT)
    origin = _checked_origin(origin)
    callback_url = check_callback_url(callback_url)
    assignees = _checked_assignees(assignees)
    requester_id = None if requester is None else user_ids_of([requester], "requester")[0]
    groups = [assignee for assignee in assignees if isinstance(assignee, Group)]
    user_ids = user_ids_of([one for one in assignees if not isinstance(one, Group)], "assignees")
    group_ids = group_ids_of(groups, "assignees")
    audience = Audience(
        requester_id=requester_id,
        user_ids=frozenset(user_ids),
        group_ids=frozenset(group_ids),
        four_eyes=asked.get("four_eyes", False),
    )
    check_deciders(audience, asked.get("required", 1))
    command = OpenRequest(
        request_id=new_id(),
        actor=actor or Actor.program(),
        kind=kind,
        title=title,
        details=details,
        requester_id=requester_id,
        user_ids=user_ids,
        group_ids=group_ids,
        timeout=timeout,
        key=key,
        key_scope=_scope(origin, requester_id) if key_scope is None else key_scope,
        new_round=new_round,
        asked_since=asked_since,
        origin=origin,
        callback_url=callback_url,
        named=named,
        named_four_eyes=named_four_eyes,
        override=override,
        former_fingerprint=former_fingerprint,
        **asked,
    )
    return replace(command, counted_bytes=_size(command)) if command.actor.channel is Channel.API else command


def _size(command: OpenRequest) -> int:
    """The bytes of what is asked, as they are stored."""
    texts = (command.title, command.details, command.callback_url)
    values = (
        command.arguments,
        command.editable,
        command.choices,
        command.schema,
        command.default,
        command.origin,
    )
    return sum(len(text.encode()) for text in (*texts, *map(canonical, values)))


_COMMANDS: Mapping[Kind, Callable[..., OpenRequest]] = {
    Kind.APPROVAL: _approval,
    Kind.CLARIFICATION: _clarification,
}


def _scope_of(terms: Mapping[str, Any]) -> str:
    """Whose the key is, also where the requester may ask nothing any more."""
    if (scope := terms.get("key_scope")) is not None:
        return str(scope)
    requester = terms.get("requester")
    requester_id = None if requester is None else user_ids_of([requester], "requester", active=False)[0]
    return _scope(_checked_origin(terms.get("origin")), requester_id)


def _scope(origin: Mapping[str, str], requester_id: int | None) -> str:
    """A key belongs to the run, else to the requester, else to nobody in particular."""
    if origin.get("kind") == "run":
        return f"run:{origin['id']}"
    return "" if requester_id is None else f"user:{requester_id}"


def _checked_origin(origin: object) -> dict[str, str]:
    origin = checked_json({} if origin is None else origin, "origin")
    if not isinstance(origin, dict) or not all(isinstance(value, str) for value in origin.values()):
        raise InvalidRequest("origin must be an object of texts: kind, id and url.", field="origin")
    if origin.get("kind") == "run" and not origin.get("id"):
        raise InvalidRequest("origin.id must name the run, where its kind is run.", field="origin.id")
    if not _LINK.match(origin.get("url", "")):
        raise InvalidRequest("origin.url must begin with https://, http:// or one /.", field="origin.url")
    return origin


def _checked_assignees(assignees: object) -> list[Any]:
    if assignees is REVIEWERS:
        return []
    if isinstance(assignees, str) or not isinstance(assignees, Iterable):
        raise InvalidRequest("assignees must be a list of users and groups.", field="assignees")
    named = list(assignees)
    if not named:
        raise InvalidRequest(
            "assignees must name somebody; REVIEWERS (from approvals.gate) names whoever has the permission.",
            field="assignees",
        )
    return named


def _check_required(required: int) -> None:
    if isinstance(required, bool) or not isinstance(required, int) or required < 1:
        raise InvalidRequest("required must be a whole number of at least 1.", field="required")


def _check_contradiction(on_timeout: str, required: int, *, four_eyes: bool) -> None:
    """Nobody approves what its deadline approves: neither two people nor somebody other than who asks."""
    contradictory = on_timeout == Verdict.APPROVE and (required > 1 or four_eyes)
    if contradictory and approval_settings().approve_on_timeout != "any":
        asked = "four_eyes" if four_eyes else "required above 1"
        raise InvalidRequest(
            f"on_timeout can't be 'approve' together with {asked}: nobody would have approved it. Where that"
            " is meant, the setting SAYSO_APPROVE_ON_TIMEOUT=any allows it.",
            field="on_timeout",
        )


def _checked_arguments(arguments: dict[str, Any]) -> Any:
    checked = checked_json(arguments, "arguments")
    check_names(checked, "arguments")
    return checked


def _checked_editable(editable: bool | dict[str, Any], required: int) -> bool | dict[str, Any]:
    if not isinstance(editable, bool | dict):
        raise InvalidRequest("editable must be true, false or a JSON Schema.", field="editable")
    if editable is not False and required > 1:
        # Each would approve other arguments; then nobody has approved the same thing.
        raise InvalidRequest(
            "editable can't be given with required above 1: each would approve something else.",
            field="editable",
        )
    return editable if isinstance(editable, bool) else _checked_schema(editable, "editable")


def _checked_schema(schema: dict[str, Any], field: str) -> Any:
    checked = check_schema(schema, field)
    check_offers(checked, field)
    return checked


def _options(choices: Collection[str], multiple: bool) -> Choices:
    if isinstance(choices, str) or not isinstance(choices, Collection):
        raise InvalidRequest("choices must be a list of texts, or a dict of labels.", field="choices")
    given = choices if isinstance(choices, Mapping) else list(choices)
    return check_choices(given, multiple, "choices")


def _default_answer(
    options: Choices | None, multiple: bool, schema: dict[str, Any] | None, default: Any
) -> Any:
    if default is OMITTED:
        return DEFAULT_ANSWER if options is None and schema is None else None
    default = checked_json(default, "default")
    if default is None:
        return None
    if options is not None:
        return check_choice(options, multiple, default, "default", error=InvalidRequest)
    if schema is not None:
        return check_against(schema, default, "default", error=InvalidRequest)
    if not isinstance(default, str):
        raise InvalidRequest("default must be text, as the answer will be.", field="default")
    return default
