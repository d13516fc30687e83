"""What scenarios put on record, by the product's own writer, and what they read back. Synchronous."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

from django.contrib.auth.models import Permission, User

from approvals import queries
from approvals.database.fields import new_id
from approvals.domain.commands import Actor, Channel, OpenRequest
from approvals.domain.lifecycle import Kind, Verdict
from approvals.writer import queue

# Well below what the writer's queue takes.
_AT_ONCE = 5000
# What a request is that was opened and is not on record: whatever its waiter was told, was wrong.
MISSING = "missing"
# Nothing falls due while it is measured.
_LATER = 86_400.0


def decider(name: str = "decider") -> Actor:
    """A person who may decide what is assigned to nobody, at a socket. The same for the same name."""
    user, created = User.objects.get_or_create(username=name)
    if created:
        user.user_permissions.add(Permission.objects.get(codename="decide_humanrequest"))
    return Actor(user_id=user.pk, channel=Channel.WEBSOCKET, address="127.0.0.1")


def open_requests(count: int, *, timeout: float | None = _LATER) -> list[UUID]:
    """Put so many approvals on record; returns their ids once they are."""
    ids = [new_id() for _ in range(count)]
    for start in range(0, count, _AT_ONCE):
        commands = [_opening(id_, timeout) for id_ in ids[start : start + _AT_ONCE]]
        for future in queue.submit_many(commands):
            queue.outcome_of_result(future.result())
    return ids


def recorded(ids: Iterable[UUID | str]) -> dict[str, str]:
    """The status on record of each id, as text; MISSING where there is none."""
    wanted = [UUID(str(id_)) for id_ in ids]
    found = dict.fromkeys(map(str, wanted), MISSING)
    for some in _chunks(wanted):
        found |= {str(id_): outcome.status for id_, outcome in queries.outcomes(some).items()}
    return found


def _opening(request_id: UUID, timeout: float | None) -> OpenRequest:
    return OpenRequest(
        request_id=request_id,
        actor=Actor.program(),
        kind=Kind.APPROVAL,
        title="Refund an order",
        arguments={"order": str(request_id), "amount": "12.40", "currency": "EUR"},
        timeout=timeout,
        on_timeout=Verdict.REJECT,
    )


def _chunks(ids: list[UUID]) -> Iterable[Collection[UUID]]:
    return (ids[start : start + 1000] for start in range(0, len(ids), 1000))
