"""Reads: what a user may see, what has come of requests, what changed, what is due, what happened.

Synchronous ORM code; coroutines cross over by approvals.database.in_database.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime, timedelta
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce, Length

from approvals import permissions, sets
from approvals.database import database_now
from approvals.exceptions import UnknownRequest
from approvals.lifecycle import Kind, Outcome, Status, Verdict, approved
from approvals.models import AuditEntry, GroupAssignment, HumanRequest, UserAssignment
from approvals.statements import ask

if TYPE_CHECKING:
    Requests = QuerySet[HumanRequest]

OVERDUE_SOON = timedelta(minutes=5)
# Assignments that are looked up one by one.
FEW_ASSIGNED = 500
LISTED_CHARACTERS = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One request as its row has it: enough to wake who waits for it."""

    request_id: UUID
    outcome: Outcome
    deadline: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What one person may do to one request, by permission alone: its state is another question."""

    see: bool = False
    decide: bool = False
    withdraw: bool = False
    reassign: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One entry of a request's trail, for people. `content` is None once it has been purged.

    `token` is the name of the API token that was shown, where one was.
    """

    id: int
    sequence: int
    event: str
    outcome: str
    actor: str | None
    channel: str
    address: str | None
    user_agent: str
    allowed_by: str
    at: datetime
    hash: str
    content: dict[str, Any] | None
    token: str | None = None


# What people see


def visible_to(user_id: int) -> Requests:
    """Every request that this user may see."""
    person = permissions.persons([user_id]).get(user_id)
    if person is None or not person.active:
        return HumanRequest.objects.none()
    if person.holds(permissions.SEE_ALL):
        return HumanRequest.objects.all()
    named = Q(requester_id=user_id) | _assigned_to(person)
    if person.holds(permissions.DECIDE):
        named |= ~Exists(_user_assignments()) & ~Exists(_group_assignments())
    return HumanRequest.objects.filter(named)


def request_for(user_id: int, request_id: UUID | str, *, own: bool = False) -> HumanRequest:
    """The request, with its people. UnknownRequest where there is none or this user may not see it; `own`: or
    where somebody else has asked it."""
    for request in with_people(HumanRequest.objects.filter(pk=as_id(request_id))):
        if may(user_id, request).see and (request.requester_id == user_id or not own):
            return request
    raise unknown(request_id)


def inbox(
    user_id: int,
    *,
    status: str | None = Status.PENDING,
    kind: str | None = None,
    mine: bool = False,
    overdue_soon: bool = False,
    search: str = "",
    limit: int = 200,
) -> list[HumanRequest]:
    """What the user may see, what is due first coming first, then by age; `mine`: named to decide it.

    `status` None is every state; requests that are closed come last closed first.
    """
    person = permissions.persons([user_id]).get(user_id)
    if person is None or not person.active:
        return []
    wanted = Q()
    if status:
        wanted &= Q(status=status)
    if kind:
        wanted &= Q(kind=kind)
    if overdue_soon:
        wanted &= Q(deadline__lte=database_now() + OVERDUE_SOON)
    for word in search.split():
        wanted &= Q(title__icontains=word) | Q(key__icontains=word) | Q(requester__username__icontains=word)
    pending = status == Status.PENDING
    parts = _parts_to_decide(person, pending=pending) if mine else _parts_seen(person, pending=pending)
    order = _DUE_FIRST if pending else _LAST_CLOSED_FIRST
    return _first_of(parts, wanted, order, limit)


def listed(
    user_id: int,
    *,
    status: str | None = None,
    kind: str | None = None,
    mine: bool = False,
    since: datetime | None = None,
    until: datetime | None = None,
    behind: tuple[datetime, UUID] | None = None,
    limit: int,
) -> tuple[list[HumanRequest], bool]:
    """What the user may see, newest first, and whether there is more than that.

    `since` is the first moment of opening, `until` the first that is too late; `behind`: the moment and the
    id of the row that these rows follow. There may be fewer than `limit`, and more behind them, where they
    are large: together they have LISTED_CHARACTERS, or there is one.
    """
    requests = visible_to(user_id)
    if status:
        requests = requests.filter(status=status)
    if kind:
        requests = requests.filter(kind=kind)
    if mine:
        people = permissions.persons([user_id])
        requests = requests.filter(_may_decide(people[user_id])) if people else requests.none()
    if since:
        requests = requests.filter(opened_at__gte=since)
    if until:
        requests = requests.filter(opened_at__lt=until)
    if behind:
        at, request_id = behind
        requests = requests.filter(Q(opened_at__lt=at) | Q(opened_at=at, id__lt=request_id))
    newest = requests.annotate(size=_SIZE).order_by("-opened_at", "-id")
    sizes = list(newest.values_list("pk", "size")[: limit + 1])
    ids = _fitting([size for _, size in sizes[:limit]], [pk for pk, _ in sizes])
    rows = {row.pk: row for row in with_people(HumanRequest.objects.filter(pk__in=ids))}
    return [rows[pk] for pk in ids], len(sizes) > len(ids)


def last_closed_for(user_id: int) -> HumanRequest | None:
    """The request that closed last, of those this user may see."""
    return visible_to(user_id).exclude(status=Status.PENDING).order_by("-closed_at", "-id").first()


def may(user_id: int, request: HumanRequest) -> Rights:
    person = permissions.persons([user_id]).get(user_id)
    if person is None:
        return Rights()
    audience = permissions.audiences([request])[request.pk]
    return Rights(
        see=permissions.may_see(person, audience),
        decide=permissions.may_decide(person, audience),
        withdraw=permissions.withdraws_by(person, audience) is not None,
        reassign=permissions.reassigns_by(person, audience) is not None,
    )


def visible_ids(user_ids: Iterable[int], requests: Collection[HumanRequest]) -> dict[int, set[UUID]]:
    """Which of these requests each of these users may see: six queries, however many of either."""
    people = permissions.persons(user_ids)
    audiences = permissions.audiences(requests)
    return {
        user_id: {
            request_id for request_id, audience in audiences.items() if permissions.may_see(person, audience)
        }
        for user_id, person in people.items()
    }


def history(request: HumanRequest) -> list[TimelineEntry]:
    """The trail of a request, oldest entry first."""
    entries = (
        AuditEntry.objects.filter(request_id=request.pk)
        .select_related("actor", "shown", "token")
        .order_by("sequence")
    )
    return [_timeline_entry(entry) for entry in entries]


# What the process needs


def requests_by_id(ids: Collection[UUID | str]) -> list[HumanRequest]:
    return list(with_people(HumanRequest.objects.filter(pk__in=[as_id(request_id) for request_id in ids])))


def look(ids: Collection[UUID], *, only_closed: bool = False) -> list[Look]:
    """What has come of these requests, or of those that are closed; ids without a row are left out."""
    statement = _look_statement(connection.vendor, only_closed=only_closed)
    return [_look(row) for row in ask(statement, [sets.values(ids)]).rows()]


def on_record(ids: Collection[UUID]) -> tuple[int, datetime | None]:
    """How many of these requests there are, and the earliest deadline of those that are pending.

    As little as can be read of requests that nothing has happened to: with many waits, that is most of them.
    """
    statement = (
        f"SELECT count(*), min(CASE WHEN status = %s THEN deadline END) FROM {sets.table(HumanRequest)}"  # noqa: S608
        f" WHERE {sets.among('id')}"
    )
    ((number, earliest),) = ask(statement, [Status.PENDING.value, sets.values(ids)]).rows()
    return number, sets.as_moment(earliest)


def not_on_record(ids: Collection[UUID]) -> set[UUID]:
    """Those of these ids that are no request's."""
    statement = f"SELECT id FROM {sets.table(HumanRequest)} WHERE {sets.among('id')}"  # noqa: S608  our own
    return set(ids) - {sets.as_uuid(pk) for (pk,) in ask(statement, [sets.values(ids)]).rows()}


def outcomes(ids: Collection[UUID]) -> dict[UUID, Outcome]:
    return {seen.request_id: seen.outcome for seen in look(ids)}


def changed_since(moment: datetime) -> dict[UUID, tuple[datetime, int]]:
    """Requests that opened, closed or changed at `moment` (database clock) or later, with their versions."""
    changed = HumanRequest.objects.filter(changed_at__gte=moment)
    return {pk: (at, length) for pk, at, length in changed.values_list("pk", "changed_at", "trail_length")}


def next_deadline() -> tuple[datetime | None, datetime]:
    """The earliest deadline that is still pending, and the database's clock."""
    pending = HumanRequest.objects.filter(status=Status.PENDING, deadline__isnull=False)
    return pending.order_by("deadline").values_list("deadline", flat=True).first(), database_now()


def overdue(limit: int) -> list[UUID]:
    """Pending requests whose deadline has passed on the database's clock, the oldest first."""
    due = HumanRequest.objects.filter(status=Status.PENDING, deadline__lte=database_now())
    return list(due.order_by("deadline", "id").values_list("pk", flat=True)[:limit])


def open_requests_of(origin_id: str) -> list[HumanRequest]:
    """The pending requests that this run has asked; not those of others that name its id as their origin."""
    rows = HumanRequest.objects.filter(origin_id=str(origin_id), status=Status.PENDING)
    asked = with_people(rows.order_by("opened_at", "id"))
    return [row for row in asked if row.origin.get("kind") == "run"]


def request_of_key(key_scope: str, key: str) -> HumanRequest | None:
    """The latest round of what was asked under this key."""
    rows = HumanRequest.objects.filter(key_scope=key_scope, key=key).select_related("decided_by")
    return rows.order_by("-round").first()


def keys_of(key_scope: str) -> list[str]:
    """Every key of this scope, oldest first."""
    first_rounds = HumanRequest.objects.filter(key_scope=key_scope, round=1)
    return list(first_rounds.order_by("opened_at", "id").values_list("key", flat=True))


# Shapes


def outcome_of(request: HumanRequest) -> Outcome:
    """The outcome that this row records. Reads `decided_by`: select it along."""
    return _outcome(
        request_id=str(request.pk),
        kind=Kind(request.kind),
        status=Status(request.status),
        on_timeout=request.on_timeout,
        answer=request.answer,
        arguments=request.arguments if request.final_arguments is None else request.final_arguments,
        comment=request.comment,
        decided_by=request.decided_by.get_username() if request.decided_by else None,
        closed_at=request.closed_at,
    )


def on_the_wire(request: HumanRequest) -> dict[str, Any]:
    """A request as programs get it. Reads people: `with_people` first."""
    return {
        "id": str(request.pk),
        "kind": request.kind,
        "title": request.title,
        "details": request.details,
        "arguments": request.arguments,
        "editable": request.editable,
        "choices": request.choices,
        "multiple": request.multiple,
        "schema": request.schema,
        "status": request.status,
        "requester": request.requester.get_username() if request.requester else None,
        "assignees": {
            "users": sorted(user.get_username() for user in request.assigned_users.all()),
            "groups": sorted(group.name for group in request.assigned_groups.all()),
        },
        "required": request.required,
        "four_eyes": request.four_eyes,
        "approvals": request.approvals,
        "opened_at": moment_on_the_wire(request.opened_at),
        "deadline": moment_on_the_wire(request.deadline),
        "on_timeout": request.on_timeout or None,
        "default": request.default,
        "origin": request.origin or None,
    }


def outcome_on_the_wire(outcome: Outcome) -> dict[str, Any]:
    return {
        "request_id": outcome.request_id,
        "kind": outcome.kind,
        "status": outcome.status,
        "approved": outcome.approved,
        "answer": outcome.answer,
        "arguments": outcome.arguments,
        "comment": outcome.comment,
        "decided_by": outcome.decided_by,
        "decided_at": moment_on_the_wire(outcome.decided_at),
        "timed_out": outcome.timed_out,
        "withdrawn": outcome.withdrawn,
    }


def moment_on_the_wire(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC, with the letter Z."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def with_people(requests: Requests) -> Requests:
    """The same requests, their people read along in a constant number of queries."""
    return requests.select_related("requester", "decided_by").prefetch_related(
        "assigned_users", "assigned_groups"
    )


def as_id(request_id: UUID | str) -> UUID:
    """UnknownRequest where the text is no UUID: what can't exist is unknown."""
    try:
        return request_id if isinstance(request_id, UUID) else UUID(str(request_id))
    except ValueError:
        raise unknown(request_id) from None


def unknown(request_id: UUID | str) -> UnknownRequest:
    return UnknownRequest(
        f"There is no request {str(request_id)[:100]!r}, or you may not see it.", field="request_id"
    )


def _outcome(
    *,
    request_id: str,
    kind: Kind,
    status: Status,
    on_timeout: str,
    answer: Any,
    arguments: Any,
    comment: str,
    decided_by: str | None,
    closed_at: datetime | None,
) -> Outcome:
    return Outcome(
        request_id=request_id,
        kind=kind.value,
        status=status.value,
        approved=approved(kind, status, Verdict(on_timeout) if on_timeout else None),
        answer=answer,
        arguments=arguments,
        comment=comment,
        decided_by=decided_by,
        decided_at=closed_at,
        timed_out=status is Status.TIMED_OUT,
        withdrawn=status is Status.WITHDRAWN,
    )


@cache
def _look_statement(vendor: str, *, only_closed: bool) -> str:
    """Whoever waits is woken by this: not one column more than it takes."""
    user = get_user_model()
    name, key = sets.column(user, user.USERNAME_FIELD), sets.column(user, "pk")
    return (
        "SELECT r.id, r.kind, r.status, r.on_timeout, r.answer, r.arguments, r.final_arguments, r.comment,"  # noqa: S608
        f" u.{name}, r.closed_at, r.deadline FROM {sets.table(HumanRequest)} r"
        f" LEFT JOIN {sets.table(user)} u ON u.{key} = r.decided_by_id WHERE {sets.among('r.id')}"
        + (f" AND r.status <> '{Status.PENDING.value}'" if only_closed else "")
    )


def _look(row: tuple[Any, ...]) -> Look:
    """What a row of that statement says."""
    pk, kind, status, on_timeout, answer, asked, final, comment, decided_by, closed_at, deadline = row
    request_id = sets.as_uuid(pk)
    outcome = _outcome(
        request_id=str(request_id),
        kind=Kind(kind),
        status=Status(status),
        on_timeout=on_timeout,
        answer=sets.as_json(answer),
        arguments=sets.as_json(asked if final is None else final),
        comment=comment,
        decided_by=decided_by,
        closed_at=sets.as_moment(closed_at),
    )
    return Look(request_id=request_id, outcome=outcome, deadline=sets.as_moment(deadline))


# What of a request can be large: characters.
_SIZE = Length("details") + Length("arguments") + Length("editable") + Coalesce(Length("schema"), 0)


def _fitting(sizes: Sequence[int], ids: Sequence[UUID]) -> list[UUID]:
    """As many of the first of these as a list may hold, and one at least."""
    room = LISTED_CHARACTERS
    for number, size in enumerate(sizes):
        room -= size
        if room < 0 and number:
            return list(ids[:number])
    return list(ids[: len(sizes)])


def _timeline_entry(entry: AuditEntry) -> TimelineEntry:
    shown = getattr(entry, "shown", None)
    return TimelineEntry(
        id=entry.pk,
        sequence=entry.sequence,
        event=entry.event,
        outcome=entry.outcome,
        actor=entry.actor.get_username() if entry.actor else None,
        channel=entry.channel,
        address=entry.address,
        user_agent=entry.user_agent,
        allowed_by=entry.allowed_by,
        at=entry.recorded_at,
        hash=entry.hash,
        content=json.loads(shown.content) if shown else None,
        token=entry.token.name if entry.token else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """An order of requests, as the database sorts and as `rank` does: by these columns and the id."""

    by: tuple[Any, ...]
    columns: tuple[str, ...]
    rank: Callable[[tuple[Any, ...]], Any]


_NEVER = datetime(MAXYEAR, 12, 31, tzinfo=UTC)
_DUE_FIRST = _Order(
    by=(F("deadline").asc(nulls_last=True), "opened_at", "id"),
    columns=("deadline", "opened_at", "id"),
    rank=lambda row: (row[0] or _NEVER, row[1], row[2]),
)
_LAST_CLOSED_FIRST = _Order(
    by=(F("closed_at").desc(nulls_first=True), "-id"),
    columns=("closed_at", "id"),
    rank=lambda row: (_NEVER - (row[0] or _NEVER), -row[1].int),
)


def _first_of(parts: Iterable[Requests], wanted: Q, order: _Order, limit: int) -> list[HumanRequest]:
    """The first of all wanted requests that these parts hold together, with their people.

    Each part is asked for no more than its own first: the database finds those by an index, or by the few
    assignments there are. Of conditions joined by OR it would look at every row, and sort.
    """
    firsts = [part.filter(wanted).order_by(*order.by).values_list(*order.columns)[:limit] for part in parts]
    ranks = {row[-1]: order.rank(row) for row in _together(firsts)}
    first = sorted(ranks, key=ranks.__getitem__)[:limit]
    if not first:
        return []
    # Still wanted: some may have been decided meanwhile.
    rows = {row.pk: row for row in with_people(HumanRequest.objects.filter(wanted, pk__in=first))}
    return [rows[pk] for pk in first if pk in rows]


def _together(firsts: Sequence[Any]) -> Iterable[tuple[Any, ...]]:
    """The rows of all: of one question, where the database takes it (SQLite does not)."""
    if len(firsts) > 1 and connection.features.supports_slicing_ordering_in_compound:
        rows: Iterable[tuple[Any, ...]] = firsts[0].union(*firsts[1:], all=True)
        return rows
    return chain.from_iterable(firsts)


def _parts_seen(person: permissions.Person, *, pending: bool) -> list[Requests]:
    """What this person may see, as `visible_to` says; one request may be in several. `pending`: what is."""
    if person.holds(permissions.SEE_ALL):
        return [HumanRequest.objects.all()]
    asked = HumanRequest.objects.filter(requester_id=person.id)
    return [asked, *_parts_in_charge(person, pending=pending)]


def _parts_to_decide(person: permissions.Person, *, pending: bool) -> list[Requests]:
    """What this person may decide, as `_may_decide` says."""
    own = Q(four_eyes=True, requester_id=person.id)
    return [part.exclude(own) for part in _parts_in_charge(person, pending=pending)]


def _parts_in_charge(person: permissions.Person, *, pending: bool) -> list[Requests]:
    named = _assigned_now(person) if pending else None
    if named is None:
        by_name = Exists(_user_assignments().filter(user_id=person.id))
        by_group = Exists(_group_assignments().filter(group_id__in=person.group_ids))
        parts = [HumanRequest.objects.filter(by_name), HumanRequest.objects.filter(by_group)]
    else:
        parts = [HumanRequest.objects.filter(pk__in=named)]
    if person.holds(permissions.DECIDE):
        parts.append(HumanRequest.objects.filter(~Exists(_user_assignments()), ~Exists(_group_assignments())))
    return parts


def _assigned_now(person: permissions.Person) -> list[UUID] | None:
    """What is pending and assigned to this person, by name or by group; None: too much to be named.

    Asked beforehand, because the database would not guess how little it is, and rather look at all that is
    pending.
    """
    by_name = UserAssignment.objects.filter(pending=True, user_id=person.id)
    by_group = GroupAssignment.objects.filter(pending=True, group_id__in=person.group_ids)
    found = [rows.values_list("request_id")[:FEW_ASSIGNED] for rows in (by_name, by_group)]
    ids = {request_id for (request_id,) in _together(found)}
    return None if len(ids) >= FEW_ASSIGNED else list(ids)


def _may_decide(person: permissions.Person) -> Q:
    named = _assigned_to(person)
    if person.holds(permissions.DECIDE):
        named |= ~Exists(_user_assignments()) & ~Exists(_group_assignments())
    return named & ~Q(four_eyes=True, requester_id=person.id)


def _assigned_to(person: permissions.Person) -> Q:
    by_name = Exists(_user_assignments().filter(user_id=person.id))
    by_group = Exists(_group_assignments().filter(group_id__in=person.group_ids))
    return Q(by_name) | Q(by_group)


def _user_assignments() -> QuerySet[UserAssignment]:
    return UserAssignment.objects.filter(request_id=OuterRef("pk"))


def _group_assignments() -> QuerySet[GroupAssignment]:
    return GroupAssignment.objects.filter(request_id=OuterRef("pk"))
