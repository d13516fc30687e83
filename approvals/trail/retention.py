"""Retention: remove the words of old requests, or of one person, in sets of requests.

Nothing is removed from a request that is still needed. Every removal is an entry on the request's own trail,
made by the writer; chains stay valid. Stopping half-way leaves each request done or untouched, and the next
call goes on with the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet

from approvals.domain.commands import ALTERED, STILL_NEEDED, Actor, Forget, Purge, Refused
from approvals.domain.lifecycle import Status
from approvals.exceptions import REFUSALS
from approvals.models import AuditEntry, Event, HumanRequest, Response, ShownContent, UserAssignment
from approvals.queries.requests import Requests
from approvals.writer import callbacks, queue

# Requests in one transaction, which must be short: others wait for its locks.
SET = 100

# Given ids of origins, returns those whose requests are still needed.
Sparing = Callable[[Collection[str]], Collection[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What can be removed: contents of entries and responses, and of how many requests.

    `looked_at` includes requests that are still needed.
    """

    looked_at: int = 0
    requests: int = 0
    contents: int = 0
    responses: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """The result for one set of requests.

    How many were done, which are `altered` (evidence, so left as they are), and how many are still needed.
    `looked_at` counts all.
    """

    looked_at: int
    done: int
    altered: tuple[UUID, ...]
    needed: int


def purge(actor: Actor, before: datetime, *, sparing: Sparing) -> Iterator[Removed]:
    """Purge requests that closed before that moment, and yield the result of each set, oldest first.

    `sparing` returns the origins whose requests are still needed. Raises what the writer refuses, such as
    NotPermitted.
    """
    for looked_at, ids in _purgeable(before, sparing):
        yield _carry_out([Purge(request_id=pk, actor=actor, before=before) for pk in ids], looked_at)


def count_purgeable(before: datetime, *, sparing: Sparing) -> Iterator[Counts]:
    """Count what `purge` would remove, one set at a time."""
    for looked_at, ids in _purgeable(before, sparing):
        yield Counts(
            looked_at=looked_at,
            requests=len(ids),
            contents=_contents(before).filter(entry__request_id__in=ids).count(),
            responses=_with_words(Response.objects.filter(request_id__in=ids)).count(),
        )


def count_due(before: datetime) -> int:
    """Count the requests that `purge` would look at."""
    return _due(before).count()


def forget(actor: Actor, user_id: int) -> Iterator[Removed]:
    """Remove this person's name and words from all requests, and yield the result of each set.

    Requests in `pending_of` keep what is still needed.
    """
    for rows in _in_sets(_naming(user_id)):
        commands = [Forget(request_id=pk, actor=actor, user_id=user_id) for pk, _ in rows]
        yield _carry_out(commands, len(rows))


def count_forgettable(user_id: int) -> Counts:
    """Count what `forget` would remove."""
    return Counts(
        requests=_naming(user_id).count(),
        contents=ShownContent.objects.filter(entry__actor_id=user_id).count(),
        responses=_with_words(Response.objects.filter(actor_id=user_id)).count(),
    )


def requests_closed_by(user_id: int) -> Iterator[list[UUID]]:
    """Yield the requests that this person has decided, answered or withdrawn, one set at a time."""
    for rows in _in_sets(HumanRequest.objects.filter(decided_by_id=user_id)):
        yield [pk for pk, _ in rows]


def is_allowed_by_database() -> bool:
    """Whether this process's role on PostgreSQL may remove contents; see docs/deployment.md."""
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT has_table_privilege(%s, 'DELETE') AND has_table_privilege(%s, 'UPDATE')",
            [ShownContent._meta.db_table, Response._meta.db_table],
        )
        (allowed,) = cursor.fetchone()
    return bool(allowed)


def pending_of(user_id: int) -> list[UUID]:
    """Return the pending requests that this person has asked, is named to decide, or has voted on.

    A vote that somebody gave on their behalf is theirs, too.
    """
    said = AuditEntry.objects.filter(
        Q(actor_id=user_id) | Q(on_behalf_of_id=user_id),
        request_id=OuterRef("pk"),
        event__in=(Event.OPENED, Event.DECIDED),
    )
    named = UserAssignment.objects.filter(request_id=OuterRef("pk"), user_id=user_id)
    pending = HumanRequest.objects.filter(status=Status.PENDING)
    concerned = pending.filter(Q(requester_id=user_id) | Exists(said) | Exists(named))
    return list(concerned.order_by("pk").values_list("pk", flat=True))


def _purgeable(before: datetime, sparing: Sparing) -> Iterator[tuple[int, list[UUID]]]:
    """Yield, for each set of requests that are due, how many they are, and which are not needed any more."""
    for rows in _in_sets(_due(before)):
        spared = set(sparing([origin for _, origin in rows if origin]))
        yield len(rows), [pk for pk, origin in rows if not origin or origin not in spared]


def _due(before: datetime) -> Requests:
    """Return the requests closed before that moment with content from before it, none being delivered."""
    shown = _contents(before).filter(entry__request_id=OuterRef("pk"))
    posting = callbacks.outbox.waiting({}).filter(request_id=OuterRef("pk"))
    return HumanRequest.objects.filter(Exists(shown), ~Exists(posting), closed_at__lt=before)


def _contents(before: datetime) -> QuerySet[ShownContent]:
    """Return what `Removals.shown_before` finds; a question kept by a removal is as old as its request."""
    removal = Q(entry__event=Event.PURGED)
    # Quotes inside JSON text are escaped, so this is the member `kept`, and it is not empty.
    kept = removal & Q(content__contains='"kept":{"')
    return ShownContent.objects.filter(kept | ~removal & Q(entry__recorded_at__lt=before))


def _naming(user_id: int) -> Requests:
    shown = ShownContent.objects.filter(entry__request_id=OuterRef("pk"), entry__actor_id=user_id)
    return HumanRequest.objects.filter(Exists(shown))


def _with_words(responses: QuerySet[Response]) -> QuerySet[Response]:
    wordless = Q(comment="", answer__isnull=True, arguments__isnull=True)
    return responses.exclude(wordless)


def _in_sets(requests: Requests) -> Iterator[list[tuple[UUID, str]]]:
    """Yield ids and origins by id, one set at a time; each is read when the one before is done."""
    rows = requests.order_by("pk").values_list("pk", "origin_id")
    found = list(rows[:SET])
    while found:
        yield found
        found = list(rows.filter(pk__gt=found[-1][0])[:SET])


def _carry_out(commands: Sequence[Purge | Forget], looked_at: int) -> Removed:
    results = [future.result() for future in queue.submit_many(commands)]
    done = needed = 0
    altered: list[UUID] = []
    for command, result in zip(commands, results, strict=True):
        if not isinstance(result, Refused):
            done += result.changed
        elif result.code == ALTERED:
            altered.append(command.request_id)
        elif result.code == STILL_NEEDED:
            needed += 1
        else:
            raise REFUSALS[result.code](result.detail, field=result.field, outcome=result.outcome)
    return Removed(looked_at=looked_at, done=done, altered=tuple(altered), needed=needed)
