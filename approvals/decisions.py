"""The one writer: opens, decides, answers, expires, withdraws and reassigns, many requests at once.

A batch is one transaction: lock the rows in id order; then, in a later statement, read the database's clock;
then test state and deadline and write. A row that had to wait for its lock is thus judged at the moment it was
got, and a late decision can't win. The rules run over rows in memory (`_Batch`), so that the number of
statements does not grow with the number of commands.

Nothing here raises for a refused command: a refusal is on the trail too, and raising would roll that back.
Called by approvals.group_commit only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q

from approvals import audit, hints, permissions
from approvals.audit import Draft
from approvals.commands import (
    DEADLINE,
    Accepted,
    Actor,
    Answer,
    Command,
    Decide,
    Expire,
    OpenRequest,
    Reassign,
    Refused,
    Reschedule,
    Result,
    View,
    Withdraw,
)
from approvals.database import database_now
from approvals.lifecycle import Kind, Status, Verdict, is_overdue, may_become, tally
from approvals.models import Event, GroupAssignment, HumanRequest, Response, UserAssignment
from approvals.selectors import outcome_of

C = TypeVar("C", bound=Command)

# Shorter, all together, than the overlap of the re-check: what a transaction stamped is found by it.
LOCK_TIMEOUT = "2s"
STATEMENT_TIMEOUT = "5s"
IDLE_TIMEOUT = "5s"

ROW_FIELDS = [
    "status",
    "closed_at",
    "changed_at",
    "decided_by",
    "answer",
    "final_arguments",
    "comment",
    "approvals",
    "deadline",
    "trail_length",
    "trail_head",
]


def execute(commands: Sequence[Command]) -> list[Result]:
    """Carry out commands of any kinds in order, in one transaction; one result for each, in order.

    Once it returns, accepted and refused alike are committed and the hint is on its way.
    """
    with transaction.atomic(durable=True):
        _bound_the_transaction()
        batch = _Batch(commands)
        results = [batch.apply(command) for command in commands]
        batch.write()
        if batch.changed:
            transaction.on_commit(partial(hints.send, "requests", list(batch.changed)), robust=True)
    return results


class _Batch:
    """The rows that a batch of commands concerns, locked, and what the commands make of them."""

    def __init__(self, commands: Sequence[Command]) -> None:
        self.rows = _locked(commands)
        self.now = database_now()
        self.by_key = {(row.key_scope, row.key): row for row in _by_round(self.rows.values()) if row.key}
        self.audiences = permissions.audiences(list(self.rows.values())) if _by_people(commands) else {}
        self.people = permissions.persons(_people_of(commands))
        self.responses = _responses_to(self.rows, commands)
        self.viewers = audit.viewers(_ids_of(commands, View))
        self.rescheduled = audit.rescheduled(_ids_of(commands, Reschedule))
        self.opened: dict[UUID, tuple[HumanRequest, OpenRequest]] = {}
        self.closed: set[UUID] = set()
        self.changed: dict[UUID, None] = {}
        self.new_responses: list[Response] = []
        self.reassigned: dict[UUID, Reassign] = {}
        self.drafts: list[Draft] = []

    def apply(self, command: Command) -> Result:
        if isinstance(command, OpenRequest):
            return self._open(command)
        row = self.rows.get(command.request_id)
        if row is None:
            return Refused(
                code="unknown_request",
                detail=f"There is no request {command.request_id}.",
                field="request_id",
            )
        return _DEEDS[type(command)](self, command, row)

    def write(self) -> None:
        """Everything the commands came to: a constant number of statements."""
        drafts = audit.within_limits(self.drafts, self.now)
        entries = audit.linked(drafts, self.now)  # moves the heads of the trails, which the rows hold
        touched = {draft.request.pk for draft in drafts} | set(self.changed)
        HumanRequest.writing.bulk_create(row for row, _ in self.opened.values())
        self._save(touched & self.closed, still=Status.PENDING)
        self._save(touched - self.closed - set(self.opened))
        _assign(self.opened.values())
        if self.reassigned:
            _replace_assignments(self.reassigned)
        Response.writing.bulk_create(self.new_responses)
        audit.append(entries)

    def _save(self, ids: set[UUID], *, still: Status | None = None) -> None:
        if not ids:
            return
        target = HumanRequest.writing.filter(status=still) if still else HumanRequest.writing
        if target.bulk_update([self.rows[pk] for pk in ids], ROW_FIELDS) != len(ids):
            raise RuntimeError("a locked request changed under its lock")

    # Opening

    def _open(self, command: OpenRequest) -> Result:
        known = self.rows.get(command.request_id)
        if known is not None:
            return Accepted(outcome=outcome_of(known), changed=False)
        earlier = self.by_key.get((command.key_scope, command.key)) if command.key else None
        if earlier is not None and not (command.new_round and earlier.status != Status.PENDING):
            return _attached(command, earlier)
        return self._opened(command, round_number=earlier.round + 1 if earlier else 1)

    def _opened(self, command: OpenRequest, *, round_number: int) -> Result:
        row = _row_of(command, self.now, round_number)
        self.rows[row.pk] = row
        self.audiences[row.pk] = permissions.Audience(
            requester_id=row.requester_id,
            user_ids=frozenset(command.user_ids),
            group_ids=frozenset(command.group_ids),
            four_eyes=row.four_eyes,
        )
        if row.key:
            self.by_key[row.key_scope, row.key] = row
        self.opened[row.pk] = (row, command)
        self.changed[row.pk] = None
        self._record(
            row, Event.OPENED, command.actor, _asked(command), on_behalf_of_id=_on_behalf_of(command)
        )
        return Accepted(outcome=outcome_of(row))

    # Deciding

    def _decide(self, command: Decide, row: HumanRequest) -> Result:
        said = {"verdict": command.verdict.value, "comment": command.comment, "arguments": command.arguments}
        allowed = self._allowed(command.actor, row, permissions.decides_by, said)
        if isinstance(allowed, Refused):
            return allowed
        if row.kind != Kind.APPROVAL:
            return Refused(
                code="invalid",
                detail="A clarification is answered, not approved or rejected.",
                field="decision",
            )
        earlier = self.responses.get((row.pk, command.actor.user_id))
        if (
            earlier is not None
            and earlier.verdict == command.verdict
            and earlier.arguments == command.arguments
        ):
            return Accepted(outcome=outcome_of(row), changed=False)
        refused = self._refused_by_state(command.actor, row, said, voted=earlier is not None)
        if refused:
            return refused
        if command.arguments is not None and not row.editable:
            return Refused(
                code="invalid", detail="The arguments of this request may not be edited.", field="arguments"
            )
        self._vote(command, row, allowed, said)
        return Accepted(outcome=outcome_of(row))

    def _vote(self, command: Decide, row: HumanRequest, allowed_by: str, said: dict[str, Any]) -> None:
        self._respond(
            row, command.actor, verdict=command.verdict, arguments=command.arguments, comment=command.comment
        )
        approvals = row.approvals + (command.verdict is Verdict.APPROVE)
        rejected = [Verdict.REJECT] if command.verdict is Verdict.REJECT else []
        status = tally([*rejected, *[Verdict.APPROVE] * approvals], row.required)
        row.approvals = approvals
        if command.arguments is not None:
            row.final_arguments = command.arguments
            said = {**said, "asked": row.arguments}
        self._close_or_go_on(row, status, command.actor, command.comment)
        self._record(row, Event.DECIDED, command.actor, said, status=status, allowed_by=allowed_by)

    def _answer(self, command: Answer, row: HumanRequest) -> Result:
        said = {"answer": command.answer, "comment": command.comment}
        allowed = self._allowed(command.actor, row, permissions.decides_by, said)
        if isinstance(allowed, Refused):
            return allowed
        if row.kind != Kind.CLARIFICATION:
            return Refused(
                code="invalid", detail="An approval is approved or rejected, not answered.", field="answer"
            )
        earlier = self.responses.get((row.pk, command.actor.user_id))
        if earlier is not None and earlier.answer == command.answer:
            return Accepted(outcome=outcome_of(row), changed=False)
        refused = self._refused_by_state(command.actor, row, said, voted=False)
        if refused:
            return refused
        self._respond(row, command.actor, answer=command.answer, comment=command.comment)
        row.answer = command.answer
        self._close_or_go_on(row, Status.ANSWERED, command.actor, command.comment)
        self._record(row, Event.ANSWERED, command.actor, said, status=Status.ANSWERED, allowed_by=allowed)
        return Accepted(outcome=outcome_of(row))

    def _respond(self, row: HumanRequest, actor: Actor, **said: Any) -> None:
        response = Response(
            request=row, actor_id=actor.user_id, channel=actor.channel.value, given_at=self.now, **said
        )
        self.responses[row.pk, actor.user_id] = response
        self.new_responses.append(response)

    # Ending otherwise

    def _expire(self, command: Expire, row: HumanRequest) -> Result:
        if row.status == Status.PENDING and is_overdue(row.deadline, self.now):
            self._time_out(row)
            return Accepted(outcome=outcome_of(row))
        return Accepted(outcome=outcome_of(row), changed=False)

    def _withdraw(self, command: Withdraw, row: HumanRequest) -> Result:
        said = {"reason": command.reason}
        allowed = self._allowed(command.actor, row, permissions.withdraws_by, said)
        if isinstance(allowed, Refused):
            return allowed
        if row.status == Status.WITHDRAWN and row.decided_by_id == command.actor.user_id:
            return Accepted(outcome=outcome_of(row), changed=False)
        refused = self._refused_by_state(command.actor, row, said, voted=False)
        if refused:
            return refused
        self._close_or_go_on(row, Status.WITHDRAWN, command.actor, command.reason)
        self._record(row, Event.WITHDRAWN, command.actor, said, status=Status.WITHDRAWN, allowed_by=allowed)
        return Accepted(outcome=outcome_of(row))

    # What changes an open request

    def _reassign(self, command: Reassign, row: HumanRequest) -> Result:
        named: dict[str, Any] = {"users": list(command.user_ids), "groups": list(command.group_ids)}
        allowed = self._allowed(command.actor, row, permissions.reassigns_by, named)
        if isinstance(allowed, Refused):
            return allowed
        refused = self._refused_by_state(command.actor, row, named, voted=False)
        if refused:
            return refused
        before = self.audiences[row.pk]
        self.audiences[row.pk] = permissions.Audience(
            requester_id=row.requester_id,
            user_ids=frozenset(command.user_ids),
            group_ids=frozenset(command.group_ids),
            four_eyes=row.four_eyes,
        )
        self.reassigned[row.pk] = command
        named["before"] = {"users": sorted(before.user_ids), "groups": sorted(before.group_ids)}
        self._change(row)
        self._record(row, Event.REASSIGNED, command.actor, named, allowed_by=allowed)
        return Accepted(outcome=outcome_of(row))

    def _reschedule(self, command: Reschedule, row: HumanRequest) -> Result:
        if row.pk in self.rescheduled or row.status != Status.PENDING:
            return Accepted(outcome=outcome_of(row), changed=False)
        if is_overdue(row.deadline, self.now):
            self._time_out(row)
            return Accepted(outcome=outcome_of(row))
        before, row.deadline = row.deadline, self.now + timedelta(seconds=command.timeout)
        self.rescheduled.add(row.pk)
        self._change(row)
        moments = {"before": before and before.isoformat(), "deadline": row.deadline.isoformat()}
        self._record(row, Event.RESCHEDULED, command.actor, moments)
        return Accepted(outcome=outcome_of(row))

    def _view(self, command: View, row: HumanRequest) -> Result:
        allowed = self._allowed(command.actor, row, _seen_by, {})
        if isinstance(allowed, Refused):
            return allowed
        who = (row.pk, command.actor.user_id)
        if who in self.viewers:
            return Accepted(outcome=outcome_of(row), changed=False)
        self.viewers.add(who)
        shown = {"title": row.title, "details": row.details, "arguments": row.arguments, "status": row.status}
        self._record(row, Event.VIEWED, command.actor, shown)
        return Accepted(outcome=outcome_of(row), changed=False)

    # Rules that several deeds share

    def _allowed(
        self,
        actor: Actor,
        row: HumanRequest,
        rule: Callable[[permissions.Person, permissions.Audience], str | None],
        said: dict[str, Any],
    ) -> str | Refused:
        """What allows the actor to do this, or the refusal: permission is tested before state."""
        if actor.user_id is None:
            return actor.channel.value
        person = self.people.get(actor.user_id)
        audience = self.audiences[row.pk]
        if person is None or not permissions.may_see(person, audience):
            self._record_refusal(row, actor, "unknown_request", said, known=person is not None)
            detail = f"There is no request {row.pk}, or you may not see it."
            return Refused(code="unknown_request", detail=detail, field="request_id")
        allowed = rule(person, audience)
        if allowed is None:
            self._record_refusal(row, actor, "not_permitted", said)
            return Refused(code="not_permitted", detail="You may see this request, but not do this to it.")
        return allowed

    def _refused_by_state(
        self, actor: Actor, row: HumanRequest, said: dict[str, Any], *, voted: bool
    ) -> Refused | None:
        if row.status == Status.PENDING and is_overdue(row.deadline, self.now):
            self._time_out(row)
        if row.status == Status.TIMED_OUT:
            self._record_refusal(row, actor, "too_late", said)
            return Refused(code="too_late", detail="The deadline has passed.", outcome=outcome_of(row))
        if row.status != Status.PENDING or voted:
            self._record_refusal(row, actor, "already_decided", said)
            return Refused(code="already_decided", detail=_who_won(row), outcome=outcome_of(row))
        return None

    def _time_out(self, row: HumanRequest) -> None:
        row.answer = row.default
        self._close_or_go_on(row, Status.TIMED_OUT, DEADLINE, "")
        decided: dict[str, Any] = {"deadline": row.deadline.isoformat()} if row.deadline else {}
        decided |= {"on_timeout": row.on_timeout} if row.kind == Kind.APPROVAL else {"default": row.default}
        self._record(row, Event.TIMED_OUT, DEADLINE, decided, status=Status.TIMED_OUT)

    def _close_or_go_on(self, row: HumanRequest, status: Status, actor: Actor, comment: str) -> None:
        self._change(row)
        if status is Status.PENDING:
            return
        if not may_become(Kind(row.kind), Status(row.status), status):
            raise RuntimeError(f"a {row.kind} that is {row.status} can't become {status}")
        row.status, row.closed_at, row.comment = status.value, self.now, comment
        person = self.people.get(actor.user_id) if actor.user_id is not None else None
        row.decided_by = person and _as_user(person)
        if row.pk not in self.opened:
            self.closed.add(row.pk)

    def _change(self, row: HumanRequest) -> None:
        row.changed_at = self.now
        self.changed[row.pk] = None

    def _record(
        self,
        row: HumanRequest,
        event: Event,
        actor: Actor,
        content: dict[str, Any],
        *,
        status: Status = Status.PENDING,
        allowed_by: str = "",
        on_behalf_of_id: int | None = None,
    ) -> None:
        person = self.people.get(actor.user_id) if actor.user_id is not None else None
        self.drafts.append(
            Draft(
                request=row,
                event=event,
                actor=actor,
                content={**content, "actor": person.username if person else None},
                outcome="" if status is Status.PENDING else status.value,
                allowed_by=allowed_by,
                on_behalf_of_id=on_behalf_of_id,
            )
        )

    def _record_refusal(
        self, row: HumanRequest, actor: Actor, code: str, said: dict[str, Any], *, known: bool = True
    ) -> None:
        if known:
            self._record(row, Event.REFUSED, actor, {**said, "code": code})


_DEEDS: dict[type[Command], Callable[[_Batch, Any, HumanRequest], Result]] = {
    Decide: _Batch._decide,
    Answer: _Batch._answer,
    Expire: _Batch._expire,
    Withdraw: _Batch._withdraw,
    Reassign: _Batch._reassign,
    View: _Batch._view,
    Reschedule: _Batch._reschedule,
}


def _bound_the_transaction() -> None:
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true),"
            " set_config('idle_in_transaction_session_timeout', %s, true)",
            [LOCK_TIMEOUT, STATEMENT_TIMEOUT, IDLE_TIMEOUT],
        )


def _locked(commands: Sequence[Command]) -> dict[UUID, HumanRequest]:
    """The rows that the commands concern, locked in id order, so that no two batches wait for each other."""
    wanted = {command.request_id for command in commands} | _ids_of_keys(commands)
    rows = HumanRequest.writing.select_for_update(of=("self",)).select_related("decided_by")
    return {row.pk: row for row in rows.filter(pk__in=wanted).order_by("pk")}


def _ids_of_keys(commands: Sequence[Command]) -> set[UUID]:
    keys = {(c.key_scope, c.key) for c in commands if isinstance(c, OpenRequest) and c.key}
    if not keys:
        return set()
    scopes, names = {scope for scope, _ in keys}, {name for _, name in keys}
    found = HumanRequest.objects.filter(key_scope__in=scopes, key__in=names)
    rows = found.values_list("pk", "key_scope", "key")
    return {pk for pk, scope, name in rows if (scope, name) in keys}


def _by_round(rows: Iterable[HumanRequest]) -> list[HumanRequest]:
    return sorted(rows, key=lambda row: row.round)


def _ids_of(commands: Sequence[Command], kind: type[C]) -> list[UUID]:
    return [command.request_id for command in commands if isinstance(command, kind)]


def _by_people(commands: Sequence[Command]) -> bool:
    return any(command.actor.user_id is not None or isinstance(command, Reassign) for command in commands)


def _people_of(commands: Sequence[Command]) -> set[int]:
    return {command.actor.user_id for command in commands if command.actor.user_id is not None}


def _responses_to(
    rows: Collection[UUID], commands: Sequence[Command]
) -> dict[tuple[UUID, int | None], Response]:
    """What the actors of these commands have already said to these requests."""
    deciding = [
        command
        for command in commands
        if isinstance(command, (Decide, Answer)) and command.request_id in rows
    ]
    if not deciding:
        return {}
    actors = {command.actor.user_id for command in deciding}
    mine = Q(actor_id__in=[actor for actor in actors if actor is not None])
    if None in actors:
        mine |= Q(actor__isnull=True)
    found = Response.objects.filter(mine, request_id__in={command.request_id for command in deciding})
    return {(response.request_id, response.actor_id): response for response in found}


def _assign(opened: Iterable[tuple[HumanRequest, OpenRequest]]) -> None:
    _insert_assignments({row.pk: (command.user_ids, command.group_ids) for row, command in opened})


def _replace_assignments(reassigned: dict[UUID, Reassign]) -> None:
    UserAssignment.writing.filter(request_id__in=reassigned).delete()
    GroupAssignment.writing.filter(request_id__in=reassigned).delete()
    _insert_assignments({pk: (command.user_ids, command.group_ids) for pk, command in reassigned.items()})


def _insert_assignments(named: dict[UUID, tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
    UserAssignment.writing.bulk_create(
        UserAssignment(request_id=pk, user_id=user_id)
        for pk, (users, _) in named.items()
        for user_id in users
    )
    GroupAssignment.writing.bulk_create(
        GroupAssignment(request_id=pk, group_id=group_id)
        for pk, (_, groups) in named.items()
        for group_id in groups
    )


def _row_of(command: OpenRequest, now: datetime, round_number: int) -> HumanRequest:
    return HumanRequest(
        id=command.request_id,
        kind=command.kind.value,
        title=command.title,
        details=command.details,
        arguments=command.arguments,
        editable=command.editable,
        choices=command.choices,
        multiple=command.multiple,
        schema=command.schema,
        requester_id=command.requester_id,
        required=command.required,
        four_eyes=command.four_eyes,
        key=command.key,
        key_scope=command.key_scope,
        round=round_number,
        opened_at=now,
        changed_at=now,
        deadline=None if command.timeout is None else now + timedelta(seconds=command.timeout),
        on_timeout=command.on_timeout.value if command.on_timeout else "",
        default=command.default,
        origin=command.origin,
        origin_id=command.origin.get("id", "")[:100],
    )


def _attached(command: OpenRequest, row: HumanRequest) -> Result:
    same = (command.kind, command.title, command.arguments) == (row.kind, row.title, row.arguments)
    if same:
        return Accepted(outcome=outcome_of(row), changed=False)
    detail = f"The key {command.key!r} was used for another request: {row.title!r}."
    return Refused(code="key_conflict", detail=detail, field="key", outcome=outcome_of(row))


def _asked(command: OpenRequest) -> dict[str, Any]:
    """What was asked, as everybody will be shown it."""
    return {
        "title": command.title,
        "details": command.details,
        "arguments": command.arguments,
        "editable": command.editable,
        "choices": command.choices,
        "multiple": command.multiple,
        "schema": command.schema,
        "default": command.default,
        "on_timeout": command.on_timeout.value if command.on_timeout else None,
        "timeout": command.timeout,
        "required": command.required,
        "four_eyes": command.four_eyes,
        "users": list(command.user_ids),
        "groups": list(command.group_ids),
        "origin": command.origin,
    }


def _on_behalf_of(command: OpenRequest) -> int | None:
    return command.requester_id if command.requester_id != command.actor.user_id else None


def _seen_by(person: permissions.Person, audience: permissions.Audience) -> str | None:
    return "visible" if permissions.may_see(person, audience) else None


def _who_won(row: HumanRequest) -> str:
    if row.status == Status.PENDING:
        return "You have already voted; a vote can't be changed."
    who = row.decided_by.get_username() if row.decided_by else "the program that asked"
    return f"It was already {row.status.replace('_', ' ')} by {who}."


def _as_user(person: permissions.Person) -> Any:
    user_model = HumanRequest._meta.get_field("decided_by").related_model
    user = user_model(pk=person.id)
    setattr(user, user_model.USERNAME_FIELD, person.username)
    return user
