"""Starts and stops what a server does for requests: waits, deadlines, callbacks, mail, and telling people."""

from __future__ import annotations

import asyncio
from typing import Any

from approvals.conf import tells_people
from approvals.delivery.dispatcher import Dispatcher
from approvals.delivery.letters import LetterCarrier
from approvals.delivery.notifications import NotificationCarrier
from approvals.delivery.outbox_worker import OutboxWorker
from approvals.delivery.webhooks.posting import WebhookCarrier
from approvals.process import forks
from approvals.waiting.waiting_room import WaitingRoom, waiting_room
from approvals.writer import callbacks, emails, notifications

Workers = list[OutboxWorker[Any] | Dispatcher]


async def start() -> None:
    """Start it on the running loop."""
    room = waiting_room()
    await room.start()
    _running.value = outbox_workers(room)
    for worker in _running.value:
        await worker.start()


async def stop() -> None:
    """Stop it. Idempotent."""
    workers, _running.value = _running.value or [], None
    await asyncio.gather(*[worker.stop() for worker in workers])
    await waiting_room().stop()


def outbox_workers(room: WaitingRoom) -> Workers:
    """Return a worker for each outbox, and the dispatcher where people are told; to be started."""
    workers: Workers = [
        OutboxWorker(room, callbacks.outbox, WebhookCarrier()),
        OutboxWorker(room, emails.outbox, LetterCarrier()),
    ]
    if tells_people():
        workers += [
            Dispatcher(room),
            OutboxWorker(room, notifications.outbox, NotificationCarrier()),
        ]
    return workers


_running: forks.Slot[Workers] = forks.Slot()
