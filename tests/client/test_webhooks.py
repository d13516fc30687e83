"""Callbacks are believed if they are signed with the secret, in these minutes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from django.test import RequestFactory
from fastapi import FastAPI
from sayso_client.webhooks import Closed, Unverified, django_view, fastapi_router, verify
from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = json.dumps(
    {
        "type": "request.closed",
        "timestamp": "2026-11-22T09:31:12Z",
        "data": {
            "key": "refund-812",
            "outcome": {"request_id": "1", "kind": "approval", "status": "approved", "approved": True},
        },
    }
)


def signed(at: datetime | None = None, body: str = BODY, secret: str = SECRET) -> dict[str, str]:
    at = at or datetime.now(UTC)
    return {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": Webhook(secret).sign("msg_1", at, body),
    }


def test_what_is_signed_is_told() -> None:
    closed = verify(BODY.encode(), signed(), SECRET)
    assert (closed.id, closed.key, closed.type) == ("msg_1", "refund-812", "request.closed")
    assert closed.outcome.approved


def test_one_signature_of_several_is_enough() -> None:
    """While the server's key is changed it signs with both."""
    headers = signed()
    other = signed(secret="whsec_" + "A" * 32)["Webhook-Signature"]
    headers["Webhook-Signature"] = f"v1a,xyz {other} {headers['Webhook-Signature']}"
    assert verify(BODY.encode(), headers, SECRET).key == "refund-812"


@pytest.mark.parametrize(
    "headers",
    [
        dict,
        lambda: {**signed(), "Webhook-Signature": "v1,AAAA"},
        lambda: {**signed(), "Webhook-Signature": "nonsense é"},
        lambda: {**signed(), "Webhook-Timestamp": "now"},
        lambda: {**signed(), "Webhook-Id": "msg_2"},
        lambda: signed(secret="whsec_" + "A" * 32),
        lambda: signed(body=BODY + " "),
        lambda: signed(at=datetime.now(UTC) - timedelta(minutes=6)),
        lambda: signed(at=datetime.now(UTC) + timedelta(minutes=6)),
    ],
)
def test_everything_else_is_refused(headers: Callable[[], dict[str, str]]) -> None:
    with pytest.raises(Unverified):
        verify(BODY.encode(), headers(), SECRET)


@pytest.mark.parametrize("awaited", [False, True])
async def test_an_application_of_fastapi_receives_them(awaited: bool) -> None:
    heard: list[str] = []

    async def await_it(closed: Closed) -> None:
        heard.append(closed.key)

    handler = await_it if awaited else lambda closed: heard.append(closed.key)
    application = FastAPI()
    application.include_router(fastapi_router(SECRET, handler))
    transport = httpx.ASGITransport(app=application)
    async with httpx.AsyncClient(transport=transport, base_url="http://receiver.test") as http:
        assert (await http.post("/sayso", content=BODY, headers=signed())).status_code == 204
        assert (await http.post("/sayso", content=BODY)).status_code == 401
    assert heard == ["refund-812"]


def test_a_project_of_django_receives_them() -> None:
    heard: list[Closed] = []
    view = django_view(SECRET, heard.append)
    post = RequestFactory().post
    assert view(post("/sayso", BODY, content_type="application/json", headers=signed())).status_code == 204
    assert view(post("/sayso", BODY, content_type="application/json")).status_code == 401
    assert view(RequestFactory().get("/sayso")).status_code == 405
    assert [closed.key for closed in heard] == ["refund-812"]
