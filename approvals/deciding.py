"""What people and programs decide: checked here, handed to the writer, refusals raised after the commit.

Each deed is one synchronous function, callable from any thread outside a transaction, and an `a` twin for
coroutines. Answers and edited arguments are checked before the writer sees them, but only where the actor may
decide: who may not, learns nothing about the rule.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from approvals import queries
from approvals.database.threads import in_database
from approvals.database.transactions import arefuse_inside_a_transaction, refuse_inside_a_transaction
from approvals.domain.commands import (
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
from approvals.domain.lifecycle import Kind, Outcome, Status, Verdict
from approvals.domain.payloads import checked_json, checked_text, spot
from approvals.domain.questions import REVIEWERS
from approvals.domain.schemas import check_against, check_choice
from approvals.exceptions import REFUSALS, ApprovalError, InvalidAnswer, InvalidRequest, KeyConflict
from approvals.process import telemetry
from approvals.queries import permissions
from approvals.writer import queue

COMMENT_LIMIT = 10_000


# Names nobody: what cannot be found, where it must not be said that it cannot.
NOBODY = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One of many decisions. `arguments`: the edited action, where the request lets it be edited."""

    request_id: UUID | str
    verdict: str
    comment: str = ""
    arguments: dict[str, Any] | None = None


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
    decision = Decision(request_id=request_id, verdict=verdict, comment=comment, arguments=arguments)
    with _span(actor, request_id) as span:
        return _noted(span, written(_decide_command(actor, decision)))


async def adecide(
    actor: Actor,
    request_id: UUID | str,
    verdict: str,
    *,
    comment: str = "",
    arguments: dict[str, Any] | None = None,
) -> Outcome:
    await arefuse_inside_a_transaction()
    decision = Decision(request_id=request_id, verdict=verdict, comment=comment, arguments=arguments)
    with _span(actor, request_id) as span:
        if arguments is None:  # nothing is held against the request before the writer has it
            return _noted(span, await awritten(_unfitted(actor, decision)))
        return _noted(span, await awritten(await in_database(_decide_command, actor, decision)))


def decide_each(actor: Actor, decisions: Sequence[Decision]) -> list[Outcome | ApprovalError]:
    """Many decisions, written together; an outcome or the refusal for each, in order.

    A constant number of queries before the writer's. Raises Busy where there is no room for all of them.
    """
    refuse_inside_a_transaction()
    prepared = _fitted(actor, [_prepared(actor, decision) for decision in decisions])
    futures = iter(queue.submit_many([one for one in prepared if not isinstance(one, ApprovalError)]))
    return [one if isinstance(one, ApprovalError) else _outcome_or_error(next(futures)) for one in prepared]


def decide_many(
    actor: Actor, decisions: Sequence[tuple[UUID | str, str]], *, comment: str = ""
) -> list[Outcome | ApprovalError]:
    """Many decisions with one comment, as `decide_each`."""
    each = [Decision(request_id=one, verdict=verdict, comment=comment) for one, verdict in decisions]
    return decide_each(actor, each)


async def adecide_many(
    actor: Actor, decisions: Sequence[tuple[UUID | str, str]], *, comment: str = ""
) -> list[Outcome | ApprovalError]:
    await arefuse_inside_a_transaction()
    return await in_database(decide_many, actor, decisions, comment=comment)


def answer(actor: Actor, request_id: UUID | str, answer: Any, *, comment: str = "") -> Outcome:
    """Answer a clarification: text, one of the choices (a list where several may be chosen), or structured
    data that fits the schema. Raises as `decide` does."""
    with _span(actor, request_id) as span:
        return _noted(span, written(_answer_command(actor, request_id, answer, comment)))


async def aanswer(actor: Actor, request_id: UUID | str, answer: Any, *, comment: str = "") -> Outcome:
    await arefuse_inside_a_transaction()
    with _span(actor, request_id) as span:
        command = await in_database(_answer_command, actor, request_id, answer, comment)
        return _noted(span, await awritten(command))


def withdraw(actor: Actor, request_id: UUID | str, reason: str = "", *, by_origin: bool = False) -> Outcome:
    """Take the question back; who waits for it learns that it was withdrawn, not rejected.

    `by_origin` says that what asked has ended, by this actor, who then needs no right to the request.
    """
    return written(_withdraw_command(actor, request_id, reason, by_origin=by_origin))


async def awithdraw(
    actor: Actor, request_id: UUID | str, reason: str = "", *, by_origin: bool = False
) -> Outcome:
    await arefuse_inside_a_transaction()
    return await awritten(_withdraw_command(actor, request_id, reason, by_origin=by_origin))


def reassign(
    actor: Actor,
    request_id: UUID | str,
    users: Collection[str | int] = (),
    groups: Collection[str | int] = (),
) -> Outcome:
    """Name others, by username or id and by group name or id, instead of those who may decide now.

    REVIEWERS as `users` names whoever has the permission. Who reassigns a request that needs four eyes can't
    decide it.
    """
    return written(_reassign_command(actor, request_id, users, groups))


async def areassign(
    actor: Actor,
    request_id: UUID | str,
    users: Collection[str | int] = (),
    groups: Collection[str | int] = (),
) -> Outcome:
    await arefuse_inside_a_transaction()
    return await awritten(await in_database(_reassign_command, actor, request_id, users, groups))


def record_view(actor: Actor, request_id: UUID | str) -> None:
    """The actor was shown the request's page; the trail keeps the first time."""
    written(View(request_id=queries.as_id(request_id), actor=actor))


async def arecord_view(actor: Actor, request_id: UUID | str) -> None:
    await arefuse_inside_a_transaction()
    await awritten(View(request_id=queries.as_id(request_id), actor=actor))


def written(command: Command) -> Outcome:
    """Have one command written; its outcome once it is committed, or the refusal raised."""
    return accepted(command).outcome


def accepted(command: Command) -> Accepted:
    """As `written`, and whether the command has changed anything."""
    refuse_inside_a_transaction()
    return _unless_refused(queue.submit(command).result())


async def awritten(command: Command) -> Outcome:
    """As `written`, for coroutines. Cancelling the caller does not take the command back."""
    return outcome_of_result(await asyncio.wrap_future(queue.submit(command)))


def _span(actor: Actor, request_id: UUID | str) -> telemetry.Span:
    return telemetry.span("sayso.decide", request=request_id, channel=actor.channel)


def _noted(span: telemetry.Span, outcome: Outcome) -> Outcome:
    span.note(outcome=outcome.status)
    return outcome


def _decide_command(actor: Actor, decision: Decision) -> Decide:
    for command in _fitted(actor, [_unfitted(actor, decision)]):
        if isinstance(command, Decide):
            return command
        raise command
    raise RuntimeError("one decision is one command")


def _prepared(actor: Actor, decision: Decision) -> Decide | ApprovalError:
    try:
        return _unfitted(actor, decision)
    except ApprovalError as error:
        return error


def _unfitted(actor: Actor, decision: Decision) -> Decide:
    """The command, before its edited arguments have been held against the request."""
    if decision.verdict not in set(Verdict):
        raise InvalidRequest("decision must be 'approve' or 'reject'.", field="decision")
    return Decide(
        request_id=queries.as_id(decision.request_id),
        actor=actor,
        verdict=Verdict(decision.verdict),
        comment=checked_text(decision.comment, "comment", max_length=COMMENT_LIMIT),
        arguments=_checked_arguments(decision),
    )


def _checked_arguments(decision: Decision) -> Any:
    if decision.arguments is None:
        return None
    if not isinstance(decision.arguments, dict):
        raise InvalidAnswer("arguments must be a JSON object.", field="arguments")
    if decision.verdict == Verdict.REJECT:
        raise InvalidAnswer("arguments can be edited by an approval only.", field="arguments")
    return checked_json(decision.arguments, "arguments", error=InvalidAnswer)


def _fitted(actor: Actor, commands: Sequence[Decide | ApprovalError]) -> list[Decide | ApprovalError]:
    """The commands, their edited arguments held against the requests: where they don't fit, the error.

    Where the time for it is over, that is said first: such a command goes on to the writer as it is.
    """
    edited = {one.request_id for one in commands if isinstance(one, Decide) and one.arguments is not None}
    requests = _requests_to_check(actor, edited)
    misfits: dict[int, tuple[Decide, InvalidAnswer]] = {}
    fitted = list(commands)
    for index, one in enumerate(commands):
        if isinstance(one, Decide) and one.arguments is not None and one.request_id in requests:
            try:
                arguments = _edited(requests[one.request_id], one.arguments)
                fitted[index] = replace(one, arguments=arguments)
            except InvalidAnswer as error:
                misfits[index] = one, error
    over = _over({one.request_id for one, _ in misfits.values()})
    for index, (one, misfit) in misfits.items():
        fitted[index] = one if one.request_id in over else misfit
    return fitted


def _over(request_ids: Collection[Any]) -> set[Any]:
    """Which of these requests are closed, those included whose deadline has passed unnoticed."""
    ids = list(request_ids)
    futures = queue.submit_many([Expire(request_id=request_id) for request_id in ids])
    results = zip(ids, (future.result() for future in futures), strict=True)
    return {one for one, result in results if isinstance(result, Accepted) and result.outcome.closed}


def _edited(request: Any, arguments: Any) -> Any:
    if request.kind != Kind.APPROVAL:
        return arguments
    if request.editable is False:
        raise InvalidAnswer("arguments of this request may not be edited.", field="arguments")
    return arguments if request.editable is True else check_against(request.editable, arguments, "arguments")


def _answer_command(actor: Actor, request_id: UUID | str, answer: Any, comment: str) -> Answer:
    pk = queries.as_id(request_id)
    return Answer(
        request_id=pk,
        actor=actor,
        answer=_checked_answer(actor, pk, checked_json(answer, "answer", error=InvalidAnswer)),
        comment=checked_text(comment, "comment", max_length=COMMENT_LIMIT),
    )


def _checked_answer(actor: Actor, request_id: UUID, answer: Any) -> Any:
    for request in _requests_to_check(actor, {request_id}).values():
        try:
            return _answered(request, answer)
        except InvalidAnswer:
            if not _over({request_id}):  # else the writer refuses whatever comes
                raise
    return answer


def _answered(request: Any, answer: Any) -> Any:
    if request.kind != Kind.CLARIFICATION:
        return answer
    if request.choices is not None:
        return check_choice(request.choices, request.multiple, answer, "answer")
    if request.schema is not None:
        return check_against(request.schema, answer, "answer")
    if not isinstance(answer, str):
        raise InvalidAnswer("answer must be text.", field="answer")
    return answer


def _requests_to_check(actor: Actor, request_ids: Collection[Any]) -> dict[Any, Any]:
    """Those of these requests that are this actor's to decide; of others the writer says what is wrong."""
    if not request_ids:
        return {}
    rows = queries.requests_by_id(request_ids)
    if actor.user_id is None:
        return {row.pk: row for row in rows}
    person = permissions.persons([actor.user_id]).get(actor.user_id)
    audiences = permissions.audiences(rows)
    return {row.pk: row for row in rows if person and permissions.may_decide(person, audiences[row.pk])}


def _withdraw_command(actor: Actor, request_id: UUID | str, reason: str, *, by_origin: bool) -> Withdraw:
    reason = checked_text(reason, "reason", max_length=COMMENT_LIMIT)
    return Withdraw(request_id=queries.as_id(request_id), actor=actor, reason=reason, by_origin=by_origin)


def _reassign_command(
    actor: Actor, request_id: UUID | str, users: Collection[str | int], groups: Collection[str | int]
) -> Reassign:
    pk = queries.as_id(request_id)
    for request in queries.requests_by_id([pk]):
        if actor.user_id is None or queries.rights_of(actor.user_id, request).reassign:
            return _reassigning(actor, request, users, groups)
    # Refused by the writer, unless the actor repeats what took this right away. Which people there are is
    # not told to who may not name any.
    user_ids = () if users is REVIEWERS else _ids_or_nobody(user_ids_of, users)
    group_ids = _ids_or_nobody(group_ids_of, groups)
    return Reassign(request_id=pk, actor=actor, user_ids=user_ids, group_ids=group_ids)


def _reassigning(
    actor: Actor, request: Any, users: Collection[str | int], groups: Collection[str | int]
) -> Reassign:
    user_ids = () if users is REVIEWERS else user_ids_of(users, "users", spots=True)
    group_ids = group_ids_of(groups, "groups", spots=True)
    if request.status == Status.PENDING:
        before = permissions.audiences([request])[request.pk]
        _check_named(users, groups, before)
        check_deciders(before.with_assignees(actor.user_id, user_ids, group_ids), request.required)
    return Reassign(request_id=request.pk, actor=actor, user_ids=user_ids, group_ids=group_ids)


def _check_named(
    users: Collection[str | int], groups: Collection[str | int], before: permissions.Audience
) -> None:
    """Nobody is named by REVIEWERS alone: an empty list may be one that came out empty by mistake."""
    if users is REVIEWERS and groups:
        raise InvalidRequest("groups can't be named together with REVIEWERS.", field="groups")
    if users is not REVIEWERS and not users and not groups and before.assigned:
        raise InvalidRequest(
            "users or groups must name somebody; REVIEWERS names whoever has the permission.", field="users"
        )


def _ids_or_nobody(ids_of: Callable[..., tuple[int, ...]], names: Collection[Any]) -> tuple[int, ...]:
    try:
        return ids_of(names, "")
    except InvalidRequest:
        return (NOBODY,)


def user_ids_of(
    users: Collection[Any], field: str, *, spots: bool = False, active: bool = True
) -> tuple[int, ...]:
    """Ids of active users (`active` false: of any) given as objects, ids or usernames. InvalidRequest names
    the unknown one, and with `spots` where in the field it stands."""
    model = get_user_model()
    rows = model._default_manager.filter(is_active=True) if active else model._default_manager.all()
    return _ids_of(users, field, "user", rows, model.USERNAME_FIELD, spots=spots)


def group_ids_of(groups: Collection[Any], field: str, *, spots: bool = False) -> tuple[int, ...]:
    """Ids of groups given as objects, ids or names; refuses as `user_ids_of` does."""
    return _ids_of(groups, field, "group", Group.objects.all(), "name", spots=spots)


def check_deciders(audience: permissions.Audience, required: int) -> None:
    """Refuse what nobody, or too few, could ever decide."""
    four_eyes = audience.four_eyes
    if required == 1 and not four_eyes and not audience.assigned:
        return
    possible = permissions.count_deciders(audience)
    if possible >= required:
        return
    if four_eyes and possible == 0:
        who = "the requester and whoever has reassigned it" if audience.reassigned_by else "the requester"
        raise InvalidRequest(f"four_eyes needs somebody other than {who} who may decide.", field="four_eyes")
    if required == 1:
        raise InvalidRequest(
            "assignees must name somebody who may decide: of these, nobody may.", field="assignees"
        )
    raise InvalidRequest(f"required is {required}, but only {possible} may decide.", field="required")


def _ids_of(
    values: Collection[Any], field: str, word: str, rows: Any, name_field: str, *, spots: bool
) -> tuple[int, ...]:
    names = {checked_text(value, field) for value in values if isinstance(value, str)}
    numbers = {_id_of(value, field, word, rows.model) for value in values if not isinstance(value, str)}
    by_name = dict(rows.filter(**{f"{name_field}__in": names}).values_list(name_field, "pk")) if names else {}
    by_id = set(rows.filter(pk__in=numbers).values_list("pk", flat=True)) if numbers else set()
    missing = sorted(names - set(by_name)) + sorted(str(number) for number in numbers - by_id)
    if missing:
        where = spot(field, [list(values).index(missing[0])]) if spots and missing[0] in values else field
        what = "active user" if word == "user" else word
        raise InvalidRequest(f"{where}: there is no {what} {missing[0]!r}.", field=where)
    return tuple(sorted({*by_name.values(), *by_id}))


def _id_of(value: Any, field: str, word: str, model: type[Any]) -> Any:
    """The id of a row of this model, and of no other: a group's number may be some user's, too."""
    if isinstance(value, model):
        return value.pk
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    raise InvalidRequest(f"{field}: {str(value)[:100]!r} is no {word}.", field=field)


def _outcome_or_error(future: Future[Result]) -> Outcome | ApprovalError:
    try:
        return outcome_of_result(future.result())
    except ApprovalError as error:
        return error


def outcome_of_result(result: Result) -> Outcome:
    """The outcome on record; a refusal is raised."""
    return _unless_refused(result).outcome


def _unless_refused(result: Result) -> Accepted:
    if isinstance(result, Accepted):
        return result
    more = {"differs": result.differs} if result.code == KeyConflict.code else {}
    raise REFUSALS[result.code](result.detail, field=result.field, outcome=result.outcome, **more)
