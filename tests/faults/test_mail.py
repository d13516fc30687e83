"""A mail server that accepts and stays silent delays letters, and nothing else."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx
import pytest

from approvals.database.threads import in_database
from approvals.models import Letter
from approvals.web.edge.throttling import INSIDE
from tests import factories
from tests.conftest import Serve
from tests.faults.test_load import UNLIMITED
from tests.mail_server import SILENCE, mail_server
from tests.patience import patience

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

ADDRESS = "https://sayso.example.com"


async def test_as_many_resets_as_have_places_leave_the_server_answering(serve: Serve) -> None:
    """Each used to hold its place until the mail server said something."""
    await in_database(factories.user, "ada", email="ada@example.org", password="former")
    with mail_server(SILENCE) as smtp:
        server = serve(EMAIL_URL=smtp.url, SAYSO_URL=ADDRESS, SAYSO_LOGIN_RATE_LIMIT="0", **UNLIMITED)
        async with httpx.AsyncClient(base_url=server.url, timeout=patience(), trust_env=False) as client:
            page = await client.get("/accounts/reset/")
            said = {"email": "ada@example.org", "csrfmiddlewaretoken": client.cookies["csrftoken"]}
            answers = await asyncio.gather(
                *[client.post("/accounts/reset/", data=said) for _ in range(INSIDE)]
            )
            assert Counter(answer.status_code for answer in answers) == {302: INSIDE}
            await asyncio.to_thread(smtp.wait_for_connections, 1)
            assert page.status_code == (await client.get("/accounts/login/")).status_code == 200
            assert (await client.get("/healthz/ready")).status_code == 200
    assert await in_database(Letter.objects.filter(status="waiting").count) == 1
