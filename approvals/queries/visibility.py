"""What people may see of requests: which ones, their own rights, and the history of each.

The rule is in permissions.py; `visible_to` says the same in SQL, so a change is made in both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import Case, F, Q, TextField, Value, When

from approvals.database.stored_columns import NO_FORM
from approvals.domain.lifecycle import Status
from approvals.domain.payloads import parse_object
from approvals.domain.questions import scope_of_user
from approvals.models import AuditEntry, Event, HumanRequest, Response
from approvals.queries import large_columns, people_reads, permissions
from approvals.queries.named_in_steps import Names, name_steps, read_names
from approvals.queries.quorum import voted_out
from approvals.queries.requests import (
    OriginFilter,
    Requests,
    as_id,
    decidable_by,
    given,
    seen_by,
    unknown_request,
    with_people,
)

_NAMED = ("users", "groups")

# Bytes of questions in one list at most: as many as one request may have.
LISTED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What one person is permitted to do to one request, whatever its state."""

    see: bool = False
    decide: bool = False
    withdraw: bool = False
    reassign: bool = False
    decides_as: tuple[str, ...] = ()
    """The names of those as whom they may decide: themselves, and for whom they stand, in the order tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One entry of a request's trail, for people. `content` is what was said; None once it was purged.

    `token` is the name of the API token that was used, if any; `policy` is that of the request, None in
    entries of formats 1 and 2, which do not have it.
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
    on_behalf_of: str | None = None
    policy: dict[str, Any] | None = None
    overridden_by: str | None = None
    """Who reassigned the request in place of the people that the asker named."""
    added: tuple[Sequence[str], Sequence[str]] = ((), ())
    """The users and groups whom a step of its escalation has added, or named instead; without those gone."""
    counted: tuple[str, ...] = ()
    """Whose approvals counted when this one closed a request that needs several; "a program" may be one."""


def visible_to(user_id: int) -> Requests:
    """Return the requests that this user may see."""
    person = people_reads.persons([user_id]).get(user_id)
    if person is None or not person.active:
        return HumanRequest.objects.none()
    return HumanRequest.objects.filter(seen_by(person))


def request_for(user_id: int, request_id: UUID | str, *, own: bool = False) -> HumanRequest:
    """Return the request with its people.

    UnknownRequest if there is none, if this user may not see it or, with `own`, if somebody else asked it.
    """
    for request in with_people(HumanRequest.objects.filter(pk=as_id(request_id))):
        if rights_of(user_id, request).see and (request.requester_id == user_id or not own):
            return request
    raise unknown_request(request_id)


def titles_between(user_id: int, first: UUID, last: UUID, limit: int) -> list[tuple[UUID, str]]:
    """Return the ids from the first to the last that the user may see, with their titles, newest first."""
    requests = visible_to(user_id).filter(pk__range=(first, last)).order_by("-pk")
    return list(requests.values_list("pk", "title")[:limit])


def list_requests(
    user_id: int,
    *,
    status: str | None = None,
    kind: str | None = None,
    mine: bool = False,
    asked: bool = False,
    key: str | None = None,
    origin: OriginFilter | None = None,
    group: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    behind: tuple[datetime, UUID] | None = None,
    limit: int,
) -> tuple[list[HumanRequest], bool]:
    """List what the user may see, newest first; also return whether there is more.

    Opened at `since` or later and before `until`; `behind` is the moment and id of the last row of the page
    before. `mine` leaves those that the user may decide, `asked` those that they asked, `key` those that they
    asked under it; `group` is the key of a group, of whichever requester. A page has at most `limit` requests
    and, if it has several, LISTED_BYTES of questions.
    """
    requests = visible_to(user_id).filter(
        given(status=status, kind=kind, opened_at__gte=since, opened_at__lt=until)
    )
    if asked or key is not None:
        requests = requests.filter(requester_id=user_id)
    if key is not None:
        requests = requests.filter(key=key, key_scope=scope_of_user(user_id))
    if origin is not None:
        requests = requests.filter(origin.condition())
    if group is not None:
        requests = requests.filter(group_key=group).exclude(group_key="")
    if mine:
        people = people_reads.persons([user_id])
        requests = requests.filter(decidable_by(people[user_id])) if people else requests.none()
    if behind:
        at, request_id = behind
        requests = requests.filter(Q(opened_at__lt=at) | Q(opened_at=at, id__lt=request_id))
    newest = requests.annotate(weight=large_columns.QUESTION_BYTES).order_by("-opened_at", "-id")
    sizes = list(newest.values_list("pk", "weight")[: limit + 1])
    ids = _fitting([size for _, size in sizes[:limit]], [pk for pk, _ in sizes])
    listed = large_columns.defer_outcome(HumanRequest.objects.filter(pk__in=ids))
    rows = {row.pk: row for row in with_people(listed)}
    name_steps(rows.values())
    return [rows[pk] for pk in ids], len(sizes) > len(ids)


def rights_of(user_id: int, request: HumanRequest) -> Rights:
    """Return what this user is permitted to do to this request."""
    return rights_among(user_id, [request])[request.pk]


def rights_among(user_id: int, requests: Collection[HumanRequest]) -> dict[UUID, Rights]:
    """Return what this user is permitted to do to each of these, in a constant number of queries."""
    person = people_reads.persons([user_id]).get(user_id)
    if person is None:
        return {request.pk: Rights() for request in requests}
    return {
        request_id: Rights(
            see=permissions.may_see(person, audience),
            decide=permissions.may_decide(person, audience),
            withdraw=permissions.withdraws_by(person, audience) is not None,
            reassign=permissions.reassigns_by(person, audience) is not None,
            decides_as=tuple(
                (right.on_behalf_of or person).username
                for right in permissions.rights_to_decide(person, audience)
            ),
        )
        for request_id, audience in people_reads.audiences(requests).items()
    }


def open_beside(user_id: int, request: HumanRequest, limit: int) -> list[HumanRequest]:
    """Return the other pending requests of the same origin that this user may see, the oldest first.

    Without large columns. `limit` is how many are looked at.
    """
    if not request.origin_id:
        return []
    rows = HumanRequest.objects.filter(origin_id=request.origin_id, status=Status.PENDING)
    rows = large_columns.defer_large(rows.exclude(origin_id="").exclude(pk=request.pk))
    # The column has only the beginning of a long id, and not its kind.
    beside = [
        row for row in rows.order_by("opened_at", "id")[:limit] if _origin_of(row) == _origin_of(request)
    ]
    seen = visible_ids([user_id], beside).get(user_id, set()) if beside else set()
    return [row for row in beside if row.pk in seen]


def _origin_of(request: HumanRequest) -> tuple[Any, Any]:
    return request.origin.get("kind"), request.origin.get("id")


def to_be_decided_by(user_id: int, ids: Collection[UUID]) -> set[UUID]:
    """Return those of these requests that are pending, that this user may decide, and has not voted on."""
    pending = large_columns.defer_large(HumanRequest.objects.filter(pk__in=ids, status=Status.PENDING))
    person = people_reads.persons([user_id]).get(user_id)
    if person is None:
        return set()
    audiences = people_reads.audiences(pending)
    able = {pk: audience for pk, audience in audiences.items() if permissions.may_decide(person, audience)}
    return able.keys() - voted_out(person, able)


def has_responded(user_id: int, request_id: UUID) -> bool:
    """Tell whether this user has voted on this request, or answered it."""
    return Response.objects.filter(request_id=request_id, actor_id=user_id).exists()


def visible_ids(user_ids: Iterable[int], requests: Collection[HumanRequest]) -> dict[int, set[UUID]]:
    """Return which of these requests each of these users may see, in six queries however many there are."""
    people = people_reads.persons(user_ids)
    audiences = people_reads.audiences(requests)
    return {
        user_id: {
            request_id for request_id, audience in audiences.items() if permissions.may_see(person, audience)
        }
        for user_id, person in people.items()
    }


def viewed_among(user_id: int, request_ids: Collection[UUID]) -> set[UUID]:
    """Return those of these requests whose trail says that this user was shown them."""
    views = AuditEntry.objects.filter(request_id__in=request_ids, event=Event.VIEWED, actor_id=user_id)
    return set(views.values_list("request_id", flat=True))


def was_handed_on(request: HumanRequest, since: datetime) -> bool:
    """Tell whether others were named to decide the request after this moment."""
    entries = AuditEntry.objects.filter(request_id=request.pk, event__in=[Event.REASSIGNED, Event.ESCALATED])
    return entries.filter(recorded_at__gt=since).exists()


def history(request: HumanRequest) -> list[TimelineEntry]:
    """Return the trail of a request, oldest entry first.

    Entries of opening and viewing come without the question, which may be large and is in each of them.
    """
    entries = list(
        AuditEntry.objects.filter(request_id=request.pk)
        .select_related("actor", "on_behalf_of", "token")
        .annotate(said=_SAID)
        .order_by("sequence")
    )
    texts = [parse_object(entry.canonical) or {} for entry in entries]
    names = {entry.actor_id: entry.actor.get_username() for entry in entries if entry.actor}
    overriding = {by for text in texts if (by := _overrider(text)) is not None}
    names |= _usernames_of(overriding - names.keys())
    added = read_names([one for entry in entries if (one := _added_by(entry))])
    return [_timeline_entry(entry, text, names, added) for entry, text in zip(entries, texts, strict=True)]


def _added_by(entry: Any) -> Mapping[str, Any] | None:
    """Return whom this step of the escalation has added, or named instead, by ids; None for other entries."""
    if entry.event != Event.ESCALATED or entry.said is None:
        return None
    said = parse_object(entry.said) or {}
    try:
        named = said if said["replace"] else said["added"]
        return {kind: [one for one in named[kind] if isinstance(one, int | str)] for kind in _NAMED}
    except NO_FORM:  # somebody may have altered it
        return None


def _overrider(text: Mapping[str, Any]) -> int | None:
    """Return the id of the user who reassigned the request against its asker, if the entry names one."""
    try:
        return int(text["facts"]["override"]["by"])
    except NO_FORM:
        return None


def _usernames_of(user_ids: Collection[int]) -> dict[int | None, str]:
    people = get_user_model()
    return dict(people._default_manager.filter(pk__in=user_ids).values_list("pk", people.USERNAME_FIELD))


def _fitting(sizes: Sequence[int], ids: Sequence[UUID]) -> list[UUID]:
    """Return the first ids whose sizes fit into a list together, at least one."""
    room = LISTED_BYTES
    for number, size in enumerate(sizes):
        room -= size
        if room < 0 and number:
            return list(ids[:number])
    return list(ids[: len(sizes)])


# The content of an entry, without the question; NULL once it was removed.
_SAID = Case(
    When(shown__isnull=False, event__in=[Event.OPENED, Event.VIEWED], then=Value("{}")),
    default=F("shown__content"),
    output_field=TextField(),
)


def _timeline_entry(
    entry: Any, text: Mapping[str, Any], names: Mapping[int | None, str], added: Names
) -> TimelineEntry:
    content = None if entry.said is None else parse_object(entry.said)
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
        content=content,
        token=entry.token.name if entry.token else None,
        on_behalf_of=entry.on_behalf_of.get_username() if entry.on_behalf_of else None,
        policy=text.get("policy"),
        overridden_by=None if (by := _overrider(text)) is None else names.get(by, f"account {by}"),
        added=added.of(one) if (one := _added_by(entry)) else ((), ()),
        counted=tuple(names.get(one, "a program") for one in (content or {}).get("counted", ())),
    )
