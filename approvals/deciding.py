"""What people and programs decide: checked here, handed to the writer, refusals raised after the commit.

Each deed is one synchronous function, callable from any thread outside a transaction, and an `a` twin for
coroutines. Answers and edited arguments are checked before the writer sees them, but only where the actor may
decide: who may not, learns nothing about the rule.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import transaction

from approvals import group_commit, permissions, selectors
from approvals.commands import (
    Accepted,
    Actor,
    Answer,
    Command,
    Decide,
    Expire,
    Reassign,
    Result,
    View,
    Withdraw,
)
from approvals.database import in_database
from approvals.exceptions import REFUSALS, ApprovalError, InvalidAnswer, InvalidRequest
from approvals.lifecycle import Kind, Outcome, Status, Verdict
from approvals.payloads import checked_json, checked_text
from approvals.schemas import check_against, check_choice

COMMENT_LIMIT = 10_000


def decide(
    actor: Actor,
    request_id: UUID | str,
    verdict: str,
    *,
    comment: str = "",
    arguments: dict[str, Any] | None = None,
) -> Outcome:
    """Approve or reject. `arguments`: the edited action, where the request lets it be edited.

    Returns what is now on record; with a quorum that may still be pending. Repeating one's own decision is
    harmless. Raises UnknownRequest, NotPermitted, AlreadyDecided, TooLate, InvalidAnswer, Busy, Unavailable.
    """
    return written(_decide_command(actor, request_id, verdict, comment, arguments))


async def adecide(
    actor: Actor,
    request_id: UUID | str,
    verdict: str,
    *,
    comment: str = "",
    arguments: dict[str, Any] | None = None,
) -> Outcome:
    return await awritten(await in_database(_decide_command, actor, request_id, verdict, comment, arguments))


def decide_many(
    actor: Actor, decisions: Sequence[tuple[UUID | str, str]], *, comment: str = ""
) -> list[Outcome | ApprovalError]:
    """Many decisions with one comment, written together; an outcome or the refusal for each, in order."""
    prepared = [_prepared(actor, request_id, verdict, comment) for request_id, verdict in decisions]
    _refuse_inside_a_transaction()
    futures = iter(group_commit.submit_many([one for one in prepared if not isinstance(one, ApprovalError)]))
    return [one if isinstance(one, ApprovalError) else _outcome_or_error(next(futures)) for one in prepared]


async def adecide_many(
    actor: Actor, decisions: Sequence[tuple[UUID | str, str]], *, comment: str = ""
) -> list[Outcome | ApprovalError]:
    return await in_database(decide_many, actor, decisions, comment=comment)


def answer(actor: Actor, request_id: UUID | str, answer: Any, *, comment: str = "") -> Outcome:
    """Answer a clarification: text, one of the choices (a list where several may be chosen), or structured
    data that fits the schema. Raises as `decide` does."""
    return written(_answer_command(actor, request_id, answer, comment))


async def aanswer(actor: Actor, request_id: UUID | str, answer: Any, *, comment: str = "") -> Outcome:
    return await awritten(await in_database(_answer_command, actor, request_id, answer, comment))


def withdraw(actor: Actor, request_id: UUID | str, reason: str = "") -> Outcome:
    """Take the question back; who waits for it learns that it was withdrawn, not rejected."""
    return written(_withdraw_command(actor, request_id, reason))


async def awithdraw(actor: Actor, request_id: UUID | str, reason: str = "") -> Outcome:
    return await awritten(_withdraw_command(actor, request_id, reason))


def reassign(
    actor: Actor,
    request_id: UUID | str,
    users: Collection[str | int] = (),
    groups: Collection[str | int] = (),
) -> Outcome:
    """Name others, by username or id and by group name or id, instead of those who may decide now."""
    return written(_reassign_command(actor, request_id, users, groups))


async def areassign(
    actor: Actor,
    request_id: UUID | str,
    users: Collection[str | int] = (),
    groups: Collection[str | int] = (),
) -> Outcome:
    return await awritten(await in_database(_reassign_command, actor, request_id, users, groups))


def record_view(actor: Actor, request_id: UUID | str) -> None:
    """The actor was shown the request's page; the trail keeps the first time."""
    written(View(request_id=selectors.as_id(request_id), actor=actor))


async def arecord_view(actor: Actor, request_id: UUID | str) -> None:
    await awritten(View(request_id=selectors.as_id(request_id), actor=actor))


def written(command: Command) -> Outcome:
    """Have one command written; its outcome once it is committed, or the refusal raised."""
    _refuse_inside_a_transaction()
    return outcome_of_result(group_commit.submit(command).result())


async def awritten(command: Command) -> Outcome:
    """As `written`, for coroutines. Cancelling the caller does not take the command back."""
    return outcome_of_result(await asyncio.wrap_future(group_commit.submit(command)))


def _decide_command(
    actor: Actor, request_id: UUID | str, verdict: str, comment: str, arguments: Any
) -> Decide:
    if verdict not in set(Verdict):
        raise InvalidRequest("A decision is 'approve' or 'reject'.", field="decision")
    pk = selectors.as_id(request_id)
    if arguments is not None:
        arguments = _checked_arguments(actor, pk, verdict, arguments)
    return Decide(
        request_id=pk,
        actor=actor,
        verdict=Verdict(verdict),
        comment=checked_text(comment, "comment", max_length=COMMENT_LIMIT),
        arguments=arguments,
    )


def _checked_arguments(actor: Actor, request_id: UUID, verdict: str, arguments: Any) -> Any:
    if not isinstance(arguments, dict):
        raise InvalidAnswer("Edited arguments are a JSON object.", field="arguments")
    if verdict == Verdict.REJECT:
        raise InvalidAnswer("Only an approval can edit the arguments.", field="arguments")
    arguments = checked_json(arguments, "arguments", error=InvalidAnswer)
    request = _request_to_check(actor, request_id)
    if request is None or request.kind != Kind.APPROVAL:
        return arguments
    return _fitting(request, arguments, _edited)


def _edited(request: Any, arguments: Any) -> Any:
    if request.editable is False:
        raise InvalidAnswer("The arguments of this request may not be edited.", field="arguments")
    return arguments if request.editable is True else check_against(request.editable, arguments, "arguments")


def _answer_command(actor: Actor, request_id: UUID | str, answer: Any, comment: str) -> Answer:
    pk = selectors.as_id(request_id)
    return Answer(
        request_id=pk,
        actor=actor,
        answer=_checked_answer(actor, pk, checked_json(answer, "answer", error=InvalidAnswer)),
        comment=checked_text(comment, "comment", max_length=COMMENT_LIMIT),
    )


def _checked_answer(actor: Actor, request_id: UUID, answer: Any) -> Any:
    request = _request_to_check(actor, request_id)
    if request is None or request.kind != Kind.CLARIFICATION:
        return answer
    return _fitting(request, answer, _answered)


def _answered(request: Any, answer: Any) -> Any:
    if request.choices is not None:
        return check_choice(request.choices, request.multiple, answer, "answer")
    if request.schema is not None:
        return check_against(request.schema, answer, "answer")
    if not isinstance(answer, str):
        raise InvalidAnswer("The answer is text.", field="answer")
    return answer


def _fitting(request: Any, value: Any, checked: Callable[[Any, Any], Any]) -> Any:
    """The value as `checked` puts it. Where it does not fit, but the time for it is over, that is said first:
    the value goes on to the writer, who refuses whatever comes for a closed request."""
    try:
        return checked(request, value)
    except InvalidAnswer:
        if written(Expire(request_id=request.pk)).closed:
            return value
        raise


def _request_to_check(actor: Actor, request_id: UUID) -> Any:
    """The request, if it is this actor's to decide; else the writer says what is wrong."""
    for request in selectors.requests_by_id([request_id]):
        permitted = actor.user_id is None or selectors.may(actor.user_id, request).decide
        return request if permitted else None
    return None


def _withdraw_command(actor: Actor, request_id: UUID | str, reason: str) -> Withdraw:
    reason = checked_text(reason, "reason", max_length=COMMENT_LIMIT)
    return Withdraw(request_id=selectors.as_id(request_id), actor=actor, reason=reason)


def _reassign_command(
    actor: Actor, request_id: UUID | str, users: Collection[str | int], groups: Collection[str | int]
) -> Reassign:
    user_ids = user_ids_of(users, "users")
    group_ids = group_ids_of(groups, "groups")
    for request in selectors.requests_by_id([request_id]):
        permitted = actor.user_id is None or selectors.may(actor.user_id, request).reassign
        if permitted and request.status == Status.PENDING:
            check_deciders(
                request.requester_id, user_ids, group_ids, request.required, four_eyes=request.four_eyes
            )
    return Reassign(
        request_id=selectors.as_id(request_id), actor=actor, user_ids=user_ids, group_ids=group_ids
    )


def user_ids_of(users: Collection[Any], field: str) -> tuple[int, ...]:
    """Ids of active users given as objects, ids or usernames; InvalidRequest names the unknown one."""
    model = get_user_model()
    return _ids_of(users, field, "user", model._default_manager.filter(is_active=True), model.USERNAME_FIELD)


def group_ids_of(groups: Collection[Any], field: str) -> tuple[int, ...]:
    """Ids of groups given as objects, ids or names; InvalidRequest names the unknown one."""
    return _ids_of(groups, field, "group", Group.objects.all(), "name")


def check_deciders(
    requester_id: int | None,
    user_ids: Collection[int],
    group_ids: Collection[int],
    required: int,
    *,
    four_eyes: bool,
) -> None:
    """Refuse what nobody, or too few, could ever decide."""
    audience = permissions.Audience(
        requester_id=requester_id,
        user_ids=frozenset(user_ids),
        group_ids=frozenset(group_ids),
        four_eyes=four_eyes,
    )
    if required == 1 and not four_eyes and not audience.assigned:
        return
    possible = permissions.deciders(audience)
    if possible >= required:
        return
    if four_eyes and possible == 0:
        raise InvalidRequest(
            "Four eyes need somebody other than the requester who may decide.", field="four_eyes"
        )
    field = "required" if required > 1 else "assignees"
    raise InvalidRequest(f"{required} must decide, but only {possible} may.", field=field)


def _ids_of(values: Collection[Any], field: str, word: str, rows: Any, name_field: str) -> tuple[int, ...]:
    names = {checked_text(value, field) for value in values if isinstance(value, str)}
    numbers = {_id_of(value, field, word, rows.model) for value in values if not isinstance(value, str)}
    by_name = dict(rows.filter(**{f"{name_field}__in": names}).values_list(name_field, "pk")) if names else {}
    by_id = set(rows.filter(pk__in=numbers).values_list("pk", flat=True)) if numbers else set()
    missing = sorted(names - set(by_name)) + sorted(str(number) for number in numbers - by_id)
    if missing:
        raise InvalidRequest(
            f"There is no active {word} {missing[0]!r}."
            if word == "user"
            else f"There is no group {missing[0]!r}.",
            field=field,
        )
    return tuple(sorted({*by_name.values(), *by_id}))


def _id_of(value: Any, field: str, word: str, model: type[Any]) -> Any:
    """The id of a row of this model, and of no other: a group's number may be some user's, too."""
    if isinstance(value, model):
        return value.pk
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    raise InvalidRequest(f"{str(value)[:100]!r} is no {word}.", field=field)


def _prepared(actor: Actor, request_id: UUID | str, verdict: str, comment: str) -> Decide | ApprovalError:
    try:
        return _decide_command(actor, request_id, verdict, comment, None)
    except ApprovalError as error:
        return error


def _outcome_or_error(future: Future[Result]) -> Outcome | ApprovalError:
    try:
        return outcome_of_result(future.result())
    except ApprovalError as error:
        return error


def outcome_of_result(result: Result) -> Outcome:
    """The outcome on record; a refusal is raised."""
    if isinstance(result, Accepted):
        return result.outcome
    raise REFUSALS[result.code](result.detail, field=result.field, outcome=result.outcome)


def _refuse_inside_a_transaction() -> None:
    """The writer has a transaction of its own; waiting for it inside another would dead-lock on SQLite."""
    if transaction.get_connection().in_atomic_block:
        raise RuntimeError("Sayso records in a transaction of its own: call it outside of atomic blocks.")
