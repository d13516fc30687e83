"""Requests that are closed, with the callbacks that this makes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from approvals import deciding, gate
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.domain.commands import Actor
from approvals.models import Callback, CallbackAttempt
from approvals.process import hints
from approvals.writer import callbacks
from tests import factories as make


def closed(url: str, **terms: Any) -> Callback:
    """A callback that waits, of an approval that was withdrawn."""
    request_id = make.approval(callback_url=url, **terms)
    deciding.withdraw(Actor.program(), request_id)
    return callback_of(request_id)


async def aclosed(*urls: str) -> list[UUID]:
    """Many at once; the ids of the callbacks."""
    ids = await asyncio.gather(*[gate.aopen_approval("Refund", callback_url=url) for url in urls])
    await asyncio.gather(*[deciding.awithdraw(Actor.program(), each) for each in ids])
    found = Callback.objects.filter(request_id__in=ids).values_list("pk", flat=True)
    return await in_database(lambda: list(found))


def callback_of(request_id: str) -> Callback:
    found: Callback = Callback.objects.get(request_id=request_id)
    return found


def again(callback: Callback) -> Callback:
    """The row as it is now."""
    found: Callback = Callback.objects.get(pk=callback.pk)
    return found


def attempts(callback: Callback) -> Sequence[CallbackAttempt]:
    return list(CallbackAttempt.objects.filter(callback_id=callback.pk).order_by("number"))


def make_due(callback_id: UUID) -> None:
    """Its pause, or another process's claim of it, is over; and everybody is told."""
    now = database_now()
    Callback.writing.filter(pk=callback_id, status="waiting").update(due_at=now, changed_at=now)
    hints.send(callbacks.TOPIC, [callback_id])
