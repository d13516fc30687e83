"""The rows that a batch of commands concerns: locked and read at once, changed in memory, written at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import Q

from approvals import audit, callbacks, permissions
from approvals.audit import Draft
from approvals.commands import (
    DEADLINE,
    Actor,
    Answer,
    Command,
    Decide,
    Keyed,
    OpenRequest,
    Reassign,
    Reference,
    Reschedule,
    View,
)
from approvals.database import database_now
from approvals.lifecycle import Kind, Status, may_become
from approvals.models import Event, GroupAssignment, HumanRequest, Response, UserAssignment

CHANGING_FIELDS = [
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


class Batch:
    """What the commands found and what they make of it.

    `rows` are locked; `now` is the database's clock after the locks were got. `changed` names the requests
    that people or programs should look at again, `callbacks` the outcomes that are to be posted.
    """

    def __init__(self, commands: Sequence[Command]) -> None:
        self.rows = _locked(commands)
        self.now = database_now()
        self.by_key = _latest_by_key(self.rows.values())
        self.audiences = permissions.audiences(list(self.rows.values())) if _need_audiences(commands) else {}
        self.people = permissions.persons(
            command.actor.user_id for command in commands if command.actor.user_id is not None
        )
        self.responses = _responses_to(self._concerned(commands, Decide, Answer), commands)
        self.viewers = audit.viewers(self._concerned(commands, View))
        self.rescheduled = audit.rescheduled(self._concerned(commands, Reschedule))
        self.handed_on = audit.handed_on(self._concerned(commands, Reassign))
        self.changed: dict[UUID, None] = {}
        self.callbacks: list[UUID] = []
        self._opened: set[UUID] = set()
        self._closed: set[UUID] = set()
        self._named: dict[UUID, OpenRequest | Reassign] = {}
        self._responses: list[Response] = []
        self._drafts: list[Draft] = []

    def find(self, reference: Reference) -> HumanRequest | None:
        """The row that a command names, by its id or as the latest of its key."""
        if isinstance(reference, Keyed):
            return self.by_key.get(_key(reference))
        return self.rows.get(reference)

    def add(self, row: HumanRequest, command: OpenRequest) -> None:
        """A new request, for those whom the command names."""
        self.rows[row.pk] = row
        if row.key:
            self.by_key[row.key_scope, row.key] = row
        self._opened.add(row.pk)
        self._name(row, command)
        self.change(row)

    def reassign(self, row: HumanRequest, command: Reassign) -> None:
        self._name(row, command)
        self.handed_on[row.pk] = command.actor.user_id
        self.change(row)

    def change(self, row: HumanRequest) -> None:
        row.changed_at = self.now
        self.changed[row.pk] = None

    def close(self, row: HumanRequest, status: Status, actor: Actor, comment: str) -> None:
        """Give the request its one end."""
        if not may_become(Kind(row.kind), Status(row.status), status):
            raise RuntimeError(f"a {row.kind} that is {row.status} can't become {status}")
        person = self._person(actor)
        row.status, row.closed_at, row.comment = status.value, self.now, comment
        row.decided_by = _as_user(person) if person else None
        self._closed.add(row.pk)
        self.change(row)

    def time_out(self, row: HumanRequest) -> None:
        """Record what the request itself says that its deadline decides."""
        row.answer = row.default
        self.close(row, Status.TIMED_OUT, DEADLINE, "")
        decided: dict[str, Any] = {"deadline": row.deadline.isoformat()} if row.deadline else {}
        decided |= {"on_timeout": row.on_timeout} if row.kind == Kind.APPROVAL else {"default": row.default}
        self.record(row, Event.TIMED_OUT, DEADLINE, decided, status=Status.TIMED_OUT)

    def respond(self, row: HumanRequest, actor: Actor, **said: Any) -> None:
        """Keep what this actor said."""
        response = Response(
            request=row, actor_id=actor.user_id, channel=actor.channel.value, given_at=self.now, **said
        )
        self.responses[row.pk, actor.user_id] = response
        self._responses.append(response)

    def record(
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
        """Put an entry on the request's trail; `status` is what it closed the request as, if it did."""
        person = self._person(actor)
        self._drafts.append(
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

    def write(self) -> None:
        """Everything the commands came to, in a number of statements that does not grow with theirs."""
        drafts = audit.within_limits(self._drafts, self.now)
        links = audit.linked(drafts, self.now)  # moves the heads of the trails, which the rows hold
        touched = ({draft.request.pk for draft in drafts} | set(self.changed)) - self._opened
        HumanRequest.writing.bulk_create(self.rows[pk] for pk in self._opened)
        self._save(touched & self._closed, HumanRequest.writing.filter(status=Status.PENDING))
        self._save(touched - self._closed, HumanRequest.writing.all())
        self._write_assignments()
        Response.writing.bulk_create(self._responses)
        audit.append(links)
        self.callbacks = [
            callback.pk for callback in callbacks.enqueue((self.rows[pk] for pk in self._closed), self.now)
        ]

    def _save(self, ids: set[UUID], rows: Any) -> None:
        if ids and rows.bulk_update([self.rows[pk] for pk in ids], CHANGING_FIELDS) != len(ids):
            raise RuntimeError("a locked request changed under its lock")

    def _write_assignments(self) -> None:
        renamed = set(self._named) - self._opened
        if renamed:
            UserAssignment.writing.filter(request_id__in=renamed).delete()
            GroupAssignment.writing.filter(request_id__in=renamed).delete()
        UserAssignment.writing.bulk_create(
            UserAssignment(request_id=pk, user_id=user_id)
            for pk, command in self._named.items()
            for user_id in command.user_ids
        )
        GroupAssignment.writing.bulk_create(
            GroupAssignment(request_id=pk, group_id=group_id)
            for pk, command in self._named.items()
            for group_id in command.group_ids
        )

    def _name(self, row: HumanRequest, command: OpenRequest | Reassign) -> None:
        self._named[row.pk] = command
        self.audiences[row.pk] = permissions.Audience(
            requester_id=row.requester_id,
            user_ids=frozenset(command.user_ids),
            group_ids=frozenset(command.group_ids),
            four_eyes=row.four_eyes,
        )

    def _concerned(self, commands: Sequence[Command], *kinds: type[Command]) -> set[UUID]:
        """The rows that commands of these kinds name."""
        found = (self.find(command.request_id) for command in commands if isinstance(command, kinds))
        return {row.pk for row in found if row is not None}

    def _person(self, actor: Actor) -> permissions.Person | None:
        return None if actor.user_id is None else self.people.get(actor.user_id)


def _locked(commands: Sequence[Command]) -> dict[UUID, HumanRequest]:
    """The rows that the commands concern, locked in id order, so that no two batches wait for each other.

    They are read by a second statement: one that had to wait for a lock joins what it locked then with what
    the other tables held when it began.
    """
    named = {one.request_id for one in commands if not isinstance(one.request_id, Keyed)}
    wanted = named | _ids_of_keys(commands)
    rows = HumanRequest.writing.filter(pk__in=wanted)
    locked = list(rows.select_for_update().order_by("pk").values_list("pk", flat=True))
    return {row.pk: row for row in rows.filter(pk__in=locked).select_related("decided_by")} if locked else {}


def _ids_of_keys(commands: Sequence[Command]) -> set[UUID]:
    keys = {(one.key_scope, one.key) for one in commands if isinstance(one, OpenRequest) and one.key}
    keys |= {_key(one.request_id) for one in commands if isinstance(one.request_id, Keyed)}
    if not keys:
        return set()
    scopes, names = {scope for scope, _ in keys}, {name for _, name in keys}
    found = HumanRequest.objects.filter(key_scope__in=scopes, key__in=names)
    return {pk for pk, *key in found.values_list("pk", "key_scope", "key") if tuple(key) in keys}


def _key(keyed: Keyed) -> tuple[str, str]:
    return keyed.key_scope, keyed.key


def _latest_by_key(rows: Collection[HumanRequest]) -> dict[tuple[str, str], HumanRequest]:
    by_round = sorted(rows, key=lambda row: row.round)
    return {(row.key_scope, row.key): row for row in by_round if row.key}


def _need_audiences(commands: Sequence[Command]) -> bool:
    return any(command.actor.user_id is not None or isinstance(command, Reassign) for command in commands)


def _responses_to(
    ids: Collection[UUID], commands: Sequence[Command]
) -> dict[tuple[UUID, int | None], Response]:
    """What the actors of these commands have already said to these requests."""
    if not ids:
        return {}
    actors = {command.actor.user_id for command in commands}
    theirs = Q(actor_id__in=[actor for actor in actors if actor is not None])
    if None in actors:
        theirs |= Q(actor__isnull=True)
    found = Response.objects.filter(theirs, request_id__in=ids)
    return {(response.request_id, response.actor_id): response for response in found}


def _as_user(person: permissions.Person) -> Any:
    return get_user_model()(pk=person.id, **{get_user_model().USERNAME_FIELD: person.username})
