"""Who is new and has yet to be told what waits: destinations, and people who decide for somebody since now.

A destination of a group waits for what its group may decide; one of a person for what that person may decide
and has not voted on. A new delegation leads to what its delegate may decide by it alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count, Exists, F, Min, Q

from approvals.domain.lifecycle import Status
from approvals.domain.telling import ASKING
from approvals.models import Delegation, Destination, HumanRequest, Notification, NotificationAttempt
from approvals.queries import deciders, people_reads
from approvals.queries.delegations import not_over
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

_FOR_ANYBODY = ~Q(Exists(user_assignments())) & ~Q(Exists(group_assignments()))


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
    """Return what these people may decide now because of these delegations alone, by the delegate's id.

    That is nothing where another delegation, whose delegate is no newcomer, does the same.
    """
    standing = _standing(delegations, now)
    new: defaultdict[int, set[int]] = defaultdict(set)
    for delegation in delegations:
        if (delegation.delegate_id, delegation.principal_id) not in standing:
            new[delegation.delegate_id].add(delegation.principal_id)
    return {
        person.id: _waiting_for_person(person, ~decidable_by(_without(person, new[person.id])), now)
        for person in people_reads.persons(new).values()
    }


def asked_of(destination_ids: Collection[int], request_ids: Collection[UUID]) -> list[Notification]:
    """Return the notifications by which these destinations were asked to decide these requests."""
    asked = Notification.objects.filter(destination__in=destination_ids, request__in=request_ids)
    return list(asked.filter(event__in=sorted(ASKING)))


def repetitions(destination_ids: Collection[int], now: datetime) -> dict[int, int]:
    """Return how many greetings each of these was sent in the last hour, beside the last one."""
    sent = NotificationAttempt.objects.filter(
        notification__destination__in=destination_ids,
        notification__greets=True,
        ended_at__gt=now - timedelta(hours=1),
        error="",
    )
    counts = (
        sent.order_by().values("notification__destination").annotate(sent=Count("ended_at", distinct=True))
    )
    return {pk: number - 1 for pk, number in counts.values_list("notification__destination", "sent")}


def _standing(delegations: Collection[Delegation], now: datetime) -> set[tuple[int, int]]:
    """Return which of these delegates stand for whom already, each pair by their ids."""
    holding = not_over(now).filter(
        to_greet=False, starts_at__lte=now, delegate__in={one.delegate_id for one in delegations}
    )
    return set(holding.values_list("delegate_id", "principal_id"))


def _without(person: Person, principal_ids: Collection[int]) -> Person:
    """Return this person as if they did not stand for these."""
    others = tuple(one for one in person.principals if one.id not in principal_ids)
    return replace(person, principals=others)


def _waiting_for_person(person: Person, which: Q, now: datetime) -> list[HumanRequest]:
    """Return what this person may decide; not what so many may that nobody is told one by one."""
    if not person.active:
        return []
    few = ~_of_crowds([person, *person.principals])
    found = _first(_open(now).filter(which, few, decidable_by(person), not_voted_by(person)))
    able = deciders.count_deciders_of_each(people_reads.audiences(found))
    return [request for request in found if able[request.pk] <= PEOPLE_AT_MOST]


def _of_crowds(people: Collection[Person]) -> Q:
    """Return the condition that more than PEOPLE_AT_MOST may decide: anybody, or one group of these people.

    So requests that are told to nobody one by one are not read instead of those that are. Where the audience
    has other names or four eyes, they are counted once it is read.
    """
    group_ids = {group_id for person in people for group_id in person.group_ids}
    kinds: dict[int | None, Audience] = {one: Audience(group_ids=frozenset({one})) for one in group_ids}
    kinds[None] = Audience()
    crowds = {one for one, able in deciders.count_deciders_of_each(kinds).items() if able > PEOPLE_AT_MOST}
    of_one = Q(Exists(group_assignments().filter(group_id__in=[one for one in crowds if one is not None])))
    return (of_one | _FOR_ANYBODY if None in crowds else of_one) & Q(four_eyes=False)


def _decidable_by_group(group_id: int) -> Q:
    named = Q(Exists(group_assignments().filter(group_id=group_id)))
    if not deciders.groups_of_each({None: Audience()}, [group_id])[None]:
        return named
    return named | _FOR_ANYBODY


def _open(now: datetime) -> Requests:
    in_time = Q(deadline=None) | Q(deadline__gt=now)
    return HumanRequest.objects.filter(in_time, status=Status.PENDING)


def _first(requests: Requests) -> list[HumanRequest]:
    by_deadline = requests.order_by(F("deadline").asc(nulls_last=True), "opened_at", "pk")
    return list(defer_large(by_deadline)[:REQUESTS_AT_MOST])
