"""Who is new and has yet to be told what waits: destinations, and people who decide for somebody since now.

A destination of a group waits for what its group may decide; one of a person for what that person may decide
and has not voted on. A new delegation leads to what its delegate may decide by it alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from django.db.models import Exists, F, Min, Q

from approvals.domain.lifecycle import Status
from approvals.domain.telling import ASKING
from approvals.models import Delegation, Destination, HumanRequest, Notification
from approvals.queries import deciders, people_reads
from approvals.queries.large_columns import defer_large
from approvals.queries.permissions import Audience, Person
from approvals.queries.requests import (
    Requests,
    decidable_by,
    group_assignments,
    not_voted_by,
    user_assignments,
)
from approvals.queries.tellings import PEOPLE_AT_MOST

# Of each kind, in one look.
AT_ONCE = 20
# Requests in one message, the first to be due: one more than it lists, which says that there are more.
REQUESTS_AT_MOST = 101


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomers:
    """Destinations and delegations of which nobody has been told yet what waits for them."""

    destinations: Sequence[Destination] = ()
    delegations: Sequence[Delegation] = ()

    def __len__(self) -> int:
        return len(self.destinations) + len(self.delegations)


def newcomers(now: datetime) -> Newcomers:
    """Return those to greet now, of each kind the first few."""
    begun = Delegation.objects.filter(to_greet=True, starts_at__lte=now).order_by("starts_at", "pk")
    return Newcomers(
        destinations=list(Destination.objects.filter(to_greet=True).order_by("pk")[:AT_ONCE]),
        delegations=list(begun[:AT_ONCE]),
    )


def next_beginning() -> datetime | None:
    """Return when the first newcomer is to be greeted, which may be over; None: there is none."""
    added = Destination.objects.filter(to_greet=True).aggregate(at=Min("created_at"))["at"]
    begins = Delegation.objects.filter(to_greet=True).aggregate(at=Min("starts_at"))["at"]
    return min((moment for moment in (added, begins) if moment is not None), default=None)


def to_greet_since(moment: datetime) -> dict[UUID, datetime]:
    """Return the destinations to greet that were added at this moment or later, with versions."""
    added = Destination.objects.filter(to_greet=True, created_at__gte=moment)
    return {UUID(int=pk): at for pk, at in added.values_list("pk", "created_at")}


def waiting_for(destination: Destination, now: datetime) -> list[HumanRequest]:
    """Return what this destination's person or group may decide now."""
    if destination.group_id is not None:
        return _first(_open(now).filter(_decidable_by_group(destination.group_id)))
    people = people_reads.persons([destination.user_id] if destination.user_id is not None else [])
    return [one for person in people.values() for one in _waiting_for_person(person, Q(), now)]


def waiting_by(delegations: Collection[Delegation], now: datetime) -> dict[int, list[HumanRequest]]:
    """Return what these people may decide now because of these delegations alone, by the delegate's id."""
    new: defaultdict[int, set[int]] = defaultdict(set)
    for delegation in delegations:
        new[delegation.delegate_id].add(delegation.principal_id)
    return {
        person.id: _waiting_for_person(person, ~decidable_by(_without(person, new[person.id])), now)
        for person in people_reads.persons(new).values()
    }


def asked_of(destination_ids: Collection[int], request_ids: Collection[UUID]) -> list[Notification]:
    """Return the notifications by which these destinations were asked to decide these requests."""
    asked = Notification.objects.filter(destination__in=destination_ids, request__in=request_ids)
    return list(asked.filter(event__in=sorted(ASKING)))


def _without(person: Person, principal_ids: Collection[int]) -> Person:
    """Return this person as if they did not stand for these."""
    others = tuple(one for one in person.principals if one.id not in principal_ids)
    return replace(person, principals=others)


def _waiting_for_person(person: Person, which: Q, now: datetime) -> list[HumanRequest]:
    """Return what this person may decide; not what so many may that nobody is told one by one."""
    if not person.active:
        return []
    found = _first(_open(now).filter(which, decidable_by(person), not_voted_by(person)))
    able = deciders.count_deciders_of_each(people_reads.audiences(found))
    return [request for request in found if able[request.pk] <= PEOPLE_AT_MOST]


def _decidable_by_group(group_id: int) -> Q:
    named = Q(Exists(group_assignments().filter(group_id=group_id)))
    if not deciders.groups_of_each({None: Audience()}, [group_id])[None]:
        return named
    return named | ~Q(Exists(user_assignments())) & ~Q(Exists(group_assignments()))


def _open(now: datetime) -> Requests:
    in_time = Q(deadline=None) | Q(deadline__gt=now)
    return HumanRequest.objects.filter(in_time, status=Status.PENDING)


def _first(requests: Requests) -> list[HumanRequest]:
    by_deadline = requests.order_by(F("deadline").asc(nulls_last=True), "opened_at", "pk")
    return list(defer_large(by_deadline)[:REQUESTS_AT_MOST])
