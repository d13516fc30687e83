"""Receive callbacks: who sent them is proved by their signature, as Standard Webhooks specifies it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sayso_client.answers import Outcome
from sayso_client.errors import SaysoError

# Seconds that a message may be old, or ahead: against its being sent again by somebody who has heard it.
TOLERANCE = 300.0


class Unverified(SaysoError):
    """The message was not signed with this secret, or is too old."""

    code = "unverified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A request was closed. `key` is the request's; a message that comes again has the same `id`."""

    id: str
    key: str
    outcome: Outcome
    type: str = "request.closed"
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def verify(body: bytes, headers: Mapping[str, str], secret: str) -> Closed:
    """Return what a callback says; Unverified if it was not signed with the secret, or is too old.

    `secret` begins with `whsec_`; `headers` in any case.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, sent_at = given["webhook-id"], given["webhook-timestamp"]
        age = abs(time.time() - int(sent_at))
        signatures = [each.partition(",") for each in given["webhook-signature"].split()]
    except (KeyError, ValueError):
        raise Unverified("The message has no signature.") from None
    if age > TOLERANCE:
        raise Unverified("The message is too old, or one of the two clocks is wrong.")
    signed = b".".join([message_id.encode(), sent_at.encode(), body])
    expected = base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()
    given_ones = [value for version, _, value in signatures if version == "v1"]
    if not any(hmac.compare_digest(each.encode(), expected.encode()) for each in given_ones):
        raise Unverified("The signature does not fit.")
    return _told(message_id, json.loads(body))


def _told(message_id: str, message: Mapping[str, Any]) -> Closed:
    data = message["data"]
    return Closed(
        id=message_id,
        key=data.get("key") or "",
        outcome=Outcome.of(data["outcome"]),
        type=message["type"],
        raw=message,
    )


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix("whsec_"))


def fastapi_router(
    secret: str, handler: Callable[[Closed], Awaitable[None] | None], path: str = "/sayso"
) -> Any:
    """Return a router of FastAPI that receives callbacks at `path`, for `app.include_router`.

    `handler` may be a coroutine function. It answers 204 when that has returned, 401 to what is not signed.
    """
    import inspect

    from fastapi import APIRouter, Request, Response

    router = APIRouter()

    async def receive(request: Request) -> Response:
        try:
            closed = verify(await request.body(), dict(request.headers), secret)
        except Unverified as error:
            return Response(str(error), status_code=401)
        result = handler(closed)
        if inspect.isawaitable(result):
            await result
        return Response(status_code=204)

    receive.__annotations__ = {"request": Request, "return": Response}
    router.add_api_route(path, receive, methods=["POST"])
    return router


def django_view(secret: str, handler: Callable[[Closed], None]) -> Callable[..., Any]:
    """Return a view of Django that receives callbacks, for a project's `urlpatterns`.

    It answers 204 when `handler` has returned, 401 to what is not signed.
    """
    from django.http import HttpRequest, HttpResponse
    from django.views.decorators.csrf import csrf_exempt
    from django.views.decorators.http import require_POST

    def receive(request: HttpRequest) -> HttpResponse:
        try:
            closed = verify(request.body, dict(request.headers), secret)
        except Unverified as error:
            return HttpResponse(str(error), status=401)
        handler(closed)
        return HttpResponse(status=204)

    return csrf_exempt(require_POST(receive))
