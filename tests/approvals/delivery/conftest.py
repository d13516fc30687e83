"""Who is told, and a process that tells."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from django.contrib.auth.models import User

from approvals.delivery.dispatcher import Dispatcher
from approvals.delivery.notifications import NotificationCarrier
from approvals.delivery.outbox_worker import OutboxWorker
from approvals.delivery.service import Workers
from approvals.waiting.waiting_room import waiting_room
from approvals.writer import notifications
from tests import factories as make


@pytest.fixture
async def teller(stack: object) -> AsyncIterator[None]:
    """A process that tells people."""
    room = waiting_room()
    await room.start()
    workers: Workers = [Dispatcher(room), OutboxWorker(room, notifications.outbox, NotificationCarrier())]
    for worker in workers:
        await worker.start()
    yield
    for worker in workers:
        await worker.stop()
    await room.stop()


@pytest.fixture
def ada() -> User:
    return make.user("ada", email="ada@example.org")


@pytest.fixture
def bob() -> User:
    return make.user("bob", email="bob@example.org")
