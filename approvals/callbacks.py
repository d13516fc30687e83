"""Outcomes on their way to callback URLs: rows only. approvals.webhooks posts them.

A callback is written in the transaction that closes its request: at least once, and never before the commit.
Who is about to post one claims it first; a claim that was not given back runs out, and another process tries.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from approvals.models import Callback, HumanRequest

TOPIC = "callbacks"
# From the closing of the request, or from the moment somebody asks to send again.
LONGEST_TRY = timedelta(hours=24)


def enqueue(closed: Iterable[HumanRequest], now: datetime) -> list[Callback]:
    """Have the outcomes of these requests posted; inside the transaction that closes them."""
    due = [
        Callback(
            request=request,
            url=request.callback_url,
            created_at=now,
            due_at=now,
            give_up_at=now + LONGEST_TRY,
            changed_at=now,
        )
        for request in closed
        if request.callback_url
    ]
    return Callback.writing.bulk_create(due)
