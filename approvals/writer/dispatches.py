"""Notifications are written for each destination that is to hear of something, each with when it is due.

That is done in the transaction that notes in the request's watch what was looked at. The key of a
notification is the event and the destination, so that it is written once, whoever looks, and whatever dies
while they do.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Count, Q

from approvals.database.clock import database_now
from approvals.domain.quiet_hours import QuietHours
from approvals.domain.telling import ASKING, DestinationKind, Told
from approvals.models import Destination, Notification, Watch
from approvals.process import hints
from approvals.queries.preferences import quiet_hours_of
from approvals.queries.tellings import Look, Telling
from approvals.writer import watches
from approvals.writer.notifications import AFTER_OTHERS, LONGEST_TRY, TOPIC
from approvals.writer.outboxes import bounded_transaction

# A mailbox or chat gets so many in an hour, and the rest of it together.
AN_HOUR = 200


def enqueue(claimed: Sequence[Watch], looks: Mapping[UUID, Look]) -> None:
    """Write what these watches have led to, and note in them what was looked at; then wake who sends."""
    told = [telling for look in looks.values() for telling in look.tellings]
    people = {user_id for telling in told for user_id in telling.user_ids}
    groups = {group_id for telling in told for group_id in telling.group_ids}
    theirs, of_groups = destinations_of(people), _destinations_of_groups(groups)
    times = read_times(database_now(), [*chain(*theirs.values(), *of_groups.values())])
    new = [each for telling in told for each in _to_all(telling, theirs, of_groups, times)]
    with bounded_transaction():
        Notification.writing.bulk_create(new, ignore_conflicts=True)
        watches.settle(claimed, looks)
        if new:
            ids = [each.pk for each in new]
            transaction.on_commit(partial(hints.send, TOPIC, ids), robust=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """When destinations can be told something that is written now: what was read about all of them together.

    `lately` counts what each was told in the last hour, and goes on counting.
    """

    now: datetime
    quiet: Mapping[int, QuietHours]
    lately: Counter[int]

    def due_at(
        self, destination: Destination, event: str, deadline: datetime | None
    ) -> tuple[datetime, datetime | None]:
        """Return when to tell this destination, and the same where that is in a digest.

        People choose digests for mail, where reminders still come by themselves. What would be too much in an
        hour comes in one, too, unless a program reads it.
        """
        due_at, digest = self._wanted_at(destination, event, deadline)
        if destination.kind == DestinationKind.WEBHOOK or digest is not None:
            return due_at, digest
        self.lately[destination.pk] += 1
        if self.lately[destination.pk] <= AN_HOUR:
            return due_at, None
        digest = max(due_at, _together_at(self.now, deadline))
        return digest, digest

    def _wanted_at(
        self, destination: Destination, event: str, deadline: datetime | None
    ) -> tuple[datetime, datetime | None]:
        quiet = None if destination.user_id is None else self.quiet.get(destination.user_id)
        if quiet is None:
            return self.now, None
        together = destination.kind == DestinationKind.EMAIL and event != Told.REMINDER
        digest = quiet.digest(self.now, deadline) if together else None
        return digest or quiet.due_at(self.now, deadline), digest


def read_times(now: datetime, destinations: Collection[Destination]) -> Times:
    """Read what says when these destinations can be told something."""
    people = {one.user_id for one in destinations if one.user_id is not None}
    return Times(now=now, quiet=quiet_hours_of(people), lately=_told_lately(destinations, now))


def build(now: datetime, due_at: datetime, **columns: Any) -> Notification:
    """Build a notification with these columns, tried for a day from when it is due."""
    return Notification(
        **columns, created_at=now, changed_at=now, due_at=due_at, give_up_at=due_at + LONGEST_TRY
    )


def _to_all(
    telling: Telling,
    of_people: Mapping[int, Sequence[Destination]],
    of_groups: Mapping[int, Sequence[Destination]],
    times: Times,
) -> Iterable[Notification]:
    """Build a notification for each destination that hears of such an event.

    It waits while the person wants to hear nothing. Mail also waits a moment where a chat or program is told:
    somebody may have decided by then.
    """
    theirs = [of_people.get(user_id, ()) for user_id in sorted(telling.user_ids)]
    theirs += [of_groups.get(group_id, ()) for group_id in sorted(telling.group_ids)]
    told = [one for destinations in theirs for one in destinations if telling.event in one.events]
    groups_hear = any(one.group_id is not None and one.kind != DestinationKind.EMAIL for one in told)
    hear_first = {one.user_id for one in told if one.kind != DestinationKind.EMAIL}
    for destination in told:
        due_at, digest = times.due_at(destination, telling.event, telling.deadline)
        mail = destination.kind == DestinationKind.EMAIL and telling.event in ASKING
        if mail and digest is None and (groups_hear or destination.user_id in hear_first):
            due_at = _after_others(due_at, telling.deadline)
        yield build(
            times.now,
            due_at,
            request_id=telling.request_id,
            event=telling.event,
            sequence=telling.sequence,
            destination=destination,
            digest=digest,
        )


def _together_at(now: datetime, deadline: datetime | None) -> datetime:
    """Return when what is too much comes with others: at the full hour, or minute where that is too late."""
    minute = now.replace(second=0, microsecond=0)
    hour = minute.replace(minute=0) + timedelta(hours=1)
    return hour if deadline is None or hour < deadline else minute + timedelta(minutes=1)


def _told_lately(destinations: Iterable[Destination], now: datetime) -> Counter[int]:
    """Count the messages to each of these destinations in the last hour; programs are not counted."""
    ids = [one.pk for one in destinations if one.kind != DestinationKind.WEBHOOK]
    told = Notification.objects.filter(destination__in=ids, created_at__gt=now - timedelta(hours=1))
    alone, digests = Count("pk", filter=Q(digest=None)), Count("digest", distinct=True)
    counts = told.order_by().values("destination").annotate(told=alone + digests)
    return Counter(dict(counts.values_list("destination", "told")))


def _after_others(due_at: datetime, deadline: datetime | None) -> datetime:
    """Return when to send mail that waits for those who were told first; at once where that is too late."""
    later = due_at + AFTER_OTHERS
    return later if deadline is None or later < deadline else due_at


def destinations_of(user_ids: Collection[int]) -> dict[int, list[Destination]]:
    """Read the destinations of these people; each with an active account has its address as one."""
    found = _read_destinations(user_ids)
    with_account = {user_id for user_id, those in found.items() if any(one.is_of_account for one in those)}
    if without := set(user_ids) - with_account:
        active = get_user_model()._default_manager.filter(pk__in=without, is_active=True)
        new = [Destination(user_id=user_id) for user_id in sorted(active.values_list("pk", flat=True))]
        Destination.objects.bulk_create(new, ignore_conflicts=True)
        found |= _read_destinations(without)
    return found


def _read_destinations(user_ids: Collection[int]) -> dict[int, list[Destination]]:
    found: defaultdict[int, list[Destination]] = defaultdict(list)
    for destination in Destination.objects.filter(user_id__in=user_ids).order_by("pk"):
        if destination.user_id is not None:
            found[destination.user_id].append(destination)
    return dict(found)


def _destinations_of_groups(group_ids: Collection[int]) -> dict[int, list[Destination]]:
    found: defaultdict[int, list[Destination]] = defaultdict(list)
    if group_ids:
        for destination in Destination.objects.filter(group_id__in=group_ids).order_by("pk"):
            if destination.group_id is not None:
                found[destination.group_id].append(destination)
    return dict(found)
