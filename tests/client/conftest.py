"""The client against this installation's own application, in this process: no server, no socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIHandler
from sayso_client import AsyncSayso

from approvals.database.threads import in_database
from approvals.waiting.waiting_room import WaitingRoom, waiting_room
from approvals.web.edge import tokens
from approvals.web.edge.long_polling import FewPasses, HoldingAnswers
from approvals.web.wrapping import HELD
from tests import factories as make
from tests.stacks import Stack


@dataclass(frozen=True)
class People:
    """A program that asks, and somebody who decides."""

    billing: User
    program: AsyncSayso
    ann: User
    reviewer: AsyncSayso


@pytest.fixture
async def room(stack: Stack) -> AsyncIterator[WaitingRoom]:
    room = waiting_room()
    await room.start()
    yield room
    await room.stop()


@pytest.fixture
async def people(room: WaitingRoom) -> AsyncIterator[People]:
    def made() -> tuple[User, str, User, str]:
        billing, ann = make.user("billing"), make.reviewer("ann")
        return (
            billing,
            tokens.issue(billing.pk, "agent", ["ask"])[1],
            ann,
            tokens.issue(ann.pk, "page", ["decide", "read"])[1],
        )

    billing, asking, ann, deciding = await in_database(made)
    application = HoldingAnswers(FewPasses(ASGIHandler()), endings=HELD)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=application)) as http:
        yield People(
            billing,
            AsyncSayso("http://localhost", asking, http=http),
            ann,
            AsyncSayso("http://localhost", deciding, http=http),
        )
