"""What there is to tell about requests, and to whom, since somebody looked last: read from their trails."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import F, Q

from approvals.database.clock import database_now
from approvals.domain.accounts import on_record
from approvals.domain.lifecycle import Status, is_overdue
from approvals.domain.payloads import parse_object
from approvals.domain.telling import ASKING, Told
from approvals.models import AuditEntry, Destination, Event, HumanRequest, Response, Watch
from approvals.queries import deciders, people_reads
from approvals.queries.large_columns import defer_large
from approvals.queries.permissions import Audience

# Without a deadline: how often who has not voted is reminded, and how many times.
REMIND_EVERY = timedelta(hours=24)
REMIND_TIMES = 3
# More people than this are not told one by one.
PEOPLE_AT_MOST = 50

_TOLD = (Event.OPENED, Event.REASSIGNED, Event.ESCALATED, Event.QUESTIONED, Event.COMMENTED)
# What makes somebody a decider who was not one before.
_HANDED = {Event.REASSIGNED: Told.REASSIGNED, Event.ESCALATED: Told.ESCALATED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """One event of a request, and the people who are to hear of it.

    `sequence` is that of the entry, or the number of the reminder. `group_ids` are groups that hear of it at
    a destination of their own. `deadline` is that of the request; None: it has none, or is closed.
    """

    request_id: UUID
    event: Told
    sequence: int
    user_ids: frozenset[int]
    deadline: datetime | None
    group_ids: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What looking at one watched request has found: what is to be told, and how its watch goes on."""

    tellings: tuple[Telling, ...]
    told_to: int
    reminders: int
    due_at: datetime | None


def are_too_many(request: HumanRequest) -> bool:
    """Whether more people may decide this than are told one by one. Reads its people: `with_people` first."""
    if request.status != Status.PENDING:
        return False
    named = len(request.assigned_users.all())
    if 0 < named <= PEOPLE_AT_MOST and not request.assigned_groups.all():
        return False
    return deciders.count_deciders(people_reads.audiences([request])[request.pk]) > PEOPLE_AT_MOST


def look_at(watches: Sequence[Watch]) -> dict[UUID, Look]:
    """Look at these watched requests now: a constant number of queries, and a few for each handed on."""
    ids = [watch.request_id for watch in watches]
    requests = defer_large(HumanRequest.objects.filter(pk__in=ids))
    pending = [request for request in requests if request.status == Status.PENDING]
    audiences = people_reads.audiences(pending)
    able = deciders.deciders_of_each(audiences)
    known = _Known(
        now=database_now(),
        audiences=audiences,
        deciders=able,
        delegates=deciders.delegates_of(frozenset().union(*able.values())),
        entries=_entries_since(ids),
        questioned_by=_questioners(ids),
        voted=_voters(audiences),
        groups=deciders.groups_of_each(audiences, _groups_with_destinations()),
    )
    by_id = {request.pk: request for request in requests}
    return {watch.request_id: _look(by_id[watch.request_id], watch, known) for watch in watches}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What was read about all requests that are looked at together."""

    now: datetime
    audiences: Mapping[UUID, Audience]
    deciders: Mapping[UUID, frozenset[int]]
    delegates: Mapping[int, frozenset[int]]
    entries: Mapping[UUID, Sequence[AuditEntry]]
    questioned_by: Mapping[UUID, Mapping[int, int]]
    voted: Mapping[UUID, frozenset[int]]
    groups: Mapping[UUID, frozenset[int]]


def _look(request: HumanRequest, watch: Watch, known: _Known) -> Look:
    entries = known.entries.get(request.pk, ())
    open_now = request.pk in known.audiences and not is_overdue(request.deadline, known.now)
    able = known.deciders.get(request.pk, frozenset()) if open_now else frozenset()
    told = _once([each for entry in entries for each in _tell(request, entry, able, known)])
    reminders, due_at = watch.reminders, None
    if open_now:
        while (due_at := _reminder_at(request, reminders)) is not None and due_at <= known.now:
            reminders += 1
        if reminders > watch.reminders and not any(each.event == Told.OPENED for each in told):
            voted = known.voted.get(request.pk, frozenset())
            late = _with_delegates(request, able - voted, known) - voted - _asked_by(told)
            groups = known.groups.get(request.pk, frozenset())
            told.append(_telling(request, Told.REMINDER, reminders, late, groups))
    bounded = (_not_one_by_one(each) for each in told)
    return Look(
        tellings=tuple(each for each in bounded if each.user_ids or each.group_ids),
        told_to=max((entry.sequence for entry in entries), default=watch.told_to),
        reminders=reminders,
        due_at=due_at,
    )


def _once(told: Sequence[Telling]) -> list[Telling]:
    """Ask nobody to decide the same request twice at once: of several such events, they hear of the last."""
    return [
        replace(each, user_ids=each.user_ids - _asked_by(told[at + 1 :])) if each.event in ASKING else each
        for at, each in enumerate(told)
    ]


def _asked_by(told: Iterable[Telling]) -> frozenset[int]:
    """Return who is asked to decide by these."""
    return frozenset().union(*(each.user_ids for each in told if each.event in ASKING))


def _not_one_by_one(telling: Telling) -> Telling:
    """Leave out people who are too many to be told one by one."""
    few = len(telling.user_ids) <= PEOPLE_AT_MOST
    return telling if few else replace(telling, user_ids=frozenset())


def _tell(request: HumanRequest, entry: AuditEntry, able: frozenset[int], known: _Known) -> Iterator[Telling]:
    """Return what this entry is to whom. Nobody is told what they did, unless a program did it for them."""
    actor = set() if entry.token_id else {entry.actor_id}
    asker = frozenset({request.requester_id}) - {None, *actor}
    groups = known.groups.get(request.pk, frozenset()) if able else frozenset()
    if entry.event == Event.OPENED:
        those = _with_delegates(request, able, known)
        yield _telling(request, Told.OPENED, entry.sequence, those - actor, groups)
    elif entry.event in _HANDED:
        before = _named_before(entry, able)
        new = _with_delegates(request, able - before, known) - _with_delegates(request, before, known)
        groups -= _groups_before(entry, groups)
        yield _telling(request, _HANDED[Event(entry.event)], entry.sequence, new - actor, groups)
    elif entry.event == Event.QUESTIONED:
        yield _telling(request, Told.QUESTION, entry.sequence, asker)
    elif entry.event == Event.COMMENTED:
        yield _telling(request, Told.REPLY, entry.sequence, _those_who_asked(request, entry, known) - actor)
    elif entry.outcome:
        yield _telling(request, Told.CLOSED, entry.sequence, asker)


def _with_delegates(request: HumanRequest, able: frozenset[int], known: _Known) -> frozenset[int]:
    """Add those who stand for one of these people now, unless four eyes keep them from deciding."""
    standing = frozenset().union(*(known.delegates.get(user_id, ()) for user_id in able))
    return able | (standing - known.audiences[request.pk].barred if standing else standing)


def _telling(
    request: HumanRequest,
    event: Told,
    sequence: int,
    user_ids: Iterable[int | None],
    group_ids: frozenset[int] = frozenset(),
) -> Telling:
    people = frozenset(user_id for user_id in user_ids if user_id is not None)
    return Telling(
        request_id=request.pk,
        event=event,
        sequence=sequence,
        user_ids=people,
        group_ids=group_ids,
        deadline=request.deadline if request.status == Status.PENDING else None,
    )


def _reminder_at(request: HumanRequest, made: int) -> datetime | None:
    """Return when the next reminder is due after so many; None: there is none."""
    if not request.remind:
        return None
    if request.deadline is None:
        return request.opened_at + REMIND_EVERY * (made + 1) if made < REMIND_TIMES else None
    return request.opened_at + (request.deadline - request.opened_at) * request.remind if made == 0 else None


def _named_before(entry: AuditEntry, able: frozenset[int]) -> frozenset[int]:
    """Return which of these people could decide already before the request was handed on.

    None of them where the words of that entry were removed.
    """
    before = _named_in(entry)
    if before is None:
        return frozenset()
    users, groups = before.get("users", ()), before.get("groups", ())
    named = frozenset(user_id for user_id in able if on_record(user_id) in users)
    if users and not groups:
        return named
    audience = Audience(user_ids=named, group_ids=frozenset(groups))
    return able & deciders.deciders_of_each({None: audience})[None]


def _groups_before(entry: AuditEntry, groups: frozenset[int]) -> frozenset[int]:
    """Return which of these groups could decide already before the request was handed on."""
    before = _named_in(entry)
    if before is None:
        return frozenset()
    users, named = before.get("users", ()), before.get("groups", ())
    audience = Audience(group_ids=frozenset(named))
    return frozenset() if users and not named else deciders.groups_of_each({None: audience}, groups)[None]


def _named_in(entry: AuditEntry) -> dict[str, Any] | None:
    """Return who was named before this entry; None where its words were removed."""
    shown = getattr(entry, "shown", None)
    before = (parse_object(shown.content) or {}).get("before") if shown else None
    return before if isinstance(before, dict) else None


def _those_who_asked(request: HumanRequest, entry: AuditEntry, known: _Known) -> frozenset[int]:
    """Return whose questions this comment may answer: it is by who asked the request, or by a program."""
    if entry.actor_id not in {None, request.requester_id}:
        return frozenset()
    asked = known.questioned_by.get(request.pk, {})
    return frozenset(user_id for user_id, sequence in asked.items() if sequence < entry.sequence)


def _entries_since(ids: Sequence[UUID]) -> dict[UUID, list[AuditEntry]]:
    """Read the entries that somebody may have to hear of, after those that their watches have considered."""
    new = AuditEntry.objects.filter(request_id__in=ids, sequence__gt=F("request__watch__told_to"))
    found: defaultdict[UUID, list[AuditEntry]] = defaultdict(list)
    told = new.filter(Q(event__in=_TOLD) | ~Q(outcome="")).select_related("shown").order_by("sequence")
    for entry in told.defer("canonical"):
        found[entry.request_id].append(entry)
    return found


def _groups_with_destinations() -> frozenset[int]:
    told = Destination.objects.filter(group__isnull=False).order_by()
    return frozenset(told.values_list("group_id", flat=True).distinct())


def _questioners(ids: Sequence[UUID]) -> dict[UUID, dict[int, int]]:
    """Read who has asked questions about these requests, with the entry of each one's first."""
    found: defaultdict[UUID, dict[int, int]] = defaultdict(dict)
    asked: Any = AuditEntry.objects.filter(request_id__in=ids, event=Event.QUESTIONED, actor__isnull=False)
    for request_id, user_id, sequence in asked.values_list("request_id", "actor_id", "sequence"):
        first = found[request_id].setdefault(user_id, sequence)
        found[request_id][user_id] = min(first, sequence)
    return found


def _voters(audiences: Mapping[UUID, Audience]) -> dict[UUID, frozenset[int]]:
    """Return who has voted, and on whose behalf."""
    found: defaultdict[UUID, set[int]] = defaultdict(set)
    given = Response.objects.filter(request_id__in=list(audiences), actor__isnull=False)
    for request_id, *who in given.values_list("request_id", "actor_id", "on_behalf_of_id"):
        found[request_id].update(user_id for user_id in who if user_id is not None)
    return {request_id: frozenset(users) for request_id, users in found.items()}
