"""Newcomers are greeted: a new destination, and who decides for somebody since now, hear what waits.

That is one message for each destination, a digest, and nothing where nothing waits; of what comes later they
hear as everybody does. The notifications of a greeting are written in the transaction that notes the newcomer
as greeted, under its lock: once, whoever greets, and whatever dies while they do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction

from approvals.database.clock import database_now
from approvals.domain.telling import Told
from approvals.models import Delegation, Destination, HumanRequest, Notification, NotificationStatus
from approvals.process import failpoints, hints
from approvals.queries import greetings
from approvals.queries.greetings import Newcomers
from approvals.writer import dispatches, notifications
from approvals.writer.dispatches import Times
from approvals.writer.notifications import due_again
from approvals.writer.outboxes import bounded_transaction

# Its hints name destinations that were added, by their numbers as ids.
TOPIC = "destinations"
# The entry of each trail that opens its request.
OPENING = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What waits for one destination because of a newcomer, which is there `since` that moment."""

    newcomer: Destination | Delegation
    destination: Destination
    since: datetime
    requests: Sequence[HumanRequest]


def hint(destination_id: int) -> None:
    """Have a destination that was added `to_greet` greeted, once the transaction is committed."""
    transaction.on_commit(partial(hints.send, TOPIC, [UUID(int=destination_id)]), robust=True)


def greet() -> int:
    """Greet the first newcomers; return how many there were."""
    now = database_now()
    new = greetings.newcomers(now)
    if not new:
        return 0
    found = list(_greetings(new, now))
    failpoints.reach("newcomers-read")
    places = {each.destination.pk: each.destination for each in found}
    times = dispatches.read_times(now, list(places.values()))
    # What was told again is there once, however often it was sent.
    times.lately.update(greetings.repetitions(places, now))
    with bounded_transaction():
        claimed = _claim(new)
        ids = _write([each for each in found if each.newcomer in claimed], times)
        transaction.on_commit(partial(hints.send, notifications.TOPIC, ids), robust=True)
    return len(new)


def _greetings(new: Newcomers, now: datetime) -> Iterator[Greeting]:
    """Find out what waits for whom; those who do not hear of new requests are told nothing."""
    for destination in new.destinations:
        if requests := _waiting_for(destination, now):
            yield Greeting(
                newcomer=destination,
                destination=destination,
                since=destination.created_at,
                requests=requests,
            )
    waiting = greetings.waiting_by(new.delegations, now)
    destinations = dispatches.destinations_of([user_id for user_id, requests in waiting.items() if requests])
    for delegation in new.delegations:
        for destination in destinations.get(delegation.delegate_id, ()):
            if Told.OPENED in destination.events:
                yield Greeting(
                    newcomer=delegation,
                    destination=destination,
                    since=max(delegation.made_at, delegation.starts_at),
                    requests=waiting[delegation.delegate_id],
                )


def _waiting_for(destination: Destination, now: datetime) -> Sequence[HumanRequest]:
    return greetings.waiting_for(destination, now) if Told.OPENED in destination.events else ()


def _claim(new: Newcomers) -> Collection[Destination | Delegation]:
    """Lock the newcomers whom nobody has greeted meanwhile, note that they are, and return them.

    Those that others have locked are left for the next time.
    """
    claimed: list[Any] = []
    for manager, some in ((Destination.objects, new.destinations), (Delegation.writing, new.delegations)):
        rows = manager.filter(pk__in=[one.pk for one in some], to_greet=True)
        ids = list(
            rows.select_for_update(skip_locked=True, no_key=True).order_by("pk").values_list("pk", flat=True)
        )
        manager.filter(pk__in=ids).update(to_greet=False)
        claimed += [one for one in some if one.pk in set(ids)]
    return claimed


def _write(found: Sequence[Greeting], times: Times) -> list[UUID]:
    """Write the notifications, those of one destination as one digest, and return their ids.

    A request that the destination was asked to decide since then is left out. One that it was asked before,
    such as in an earlier delegation, is told again.
    """
    asked = _asked(found)
    due = {pk: _due_at(pk, found, times) for pk in {each.destination.pk for each in found}}
    new: dict[tuple[int, UUID], Notification] = {}
    again: list[UUID] = []
    for each in found:
        due_at = due[each.destination.pk]
        for request in each.requests:
            key = each.destination.pk, request.pk
            before = asked.get(key, [])
            if key in new or any(row.created_at >= each.since for row in before):
                continue
            opening = next((row for row in before if row.event == Told.OPENED), None)
            if opening is None:
                new[key] = dispatches.build(
                    times.now,
                    due_at,
                    request_id=request.pk,
                    event=Told.OPENED,
                    sequence=OPENING,
                    destination=each.destination,
                    digest=due_at,
                    greets=True,
                )
            elif opening.status != NotificationStatus.WAITING and opening.pk not in again:
                again.append(opening.pk)
                _tell_again(opening, times.now, due_at)
    Notification.writing.bulk_create(new.values(), ignore_conflicts=True)
    return [*(row.pk for row in new.values()), *again]


def _tell_again(row: Notification, now: datetime, due_at: datetime) -> None:
    settled = Notification.writing.filter(pk=row.pk).exclude(status=NotificationStatus.WAITING)
    settled.update(**due_again(now, due_at), created_at=now, digest=due_at, greets=True)


def _asked(found: Sequence[Greeting]) -> Mapping[tuple[int, UUID], list[Notification]]:
    request_ids = {request.pk for each in found for request in each.requests}
    asked: dict[tuple[int, UUID], list[Notification]] = {}
    for row in greetings.asked_of({each.destination.pk for each in found}, request_ids):
        asked.setdefault((row.destination_id, row.request_id), []).append(row)
    return asked


def _due_at(destination_id: int, found: Sequence[Greeting], times: Times) -> datetime:
    """Return when all of it is told to this destination: by the deadline that comes first."""
    theirs = [each for each in found if each.destination.pk == destination_id]
    deadlines = [request.deadline for each in theirs for request in each.requests if request.deadline]
    due_at, _ = times.due_at(theirs[0].destination, Told.OPENED, min(deadlines, default=None))
    return due_at
