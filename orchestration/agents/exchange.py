"""One HTTP exchange, within limits of reach, time, size and redirects."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import httpx

from approvals.delivery.webhooks.connections import Connections
from approvals.delivery.webhooks.targets import Reach, Target, check_target
from approvals.exceptions import InvalidRequest
from approvals.process import forks

REDIRECTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """The exact request. `body` is text, sent as UTF-8; it comes with its own Content-Type header."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back in the end; `location` is where a redirect that was not followed points to."""

    status: int
    reason: str
    text: str
    location: str = ""


async def exchange(
    request: Exchange, *, reach: Reach, seconds: float, limit: int, connections: Connections | None = None
) -> Answer:
    """Send `request`, wait `seconds` at most in all, and read `limit` bytes at most.

    Redirects are followed, five at most, where that can neither change nor leak what was asked for: for GET
    and HEAD without headers of their own. Raises InvalidRequest where the request or a redirect is out of
    `reach`, `httpx.HTTPError`, OSError, or TimeoutError when the time is up.
    """
    follow = request.method in {"GET", "HEAD"} and not request.headers
    target = target_of(request.url, reach)
    async with asyncio.timeout(seconds):
        for _ in range(REDIRECTS + 1):
            async with (connections or _connections()).stream(
                request.method, target, headers=request.headers, content=request.body, timeout=seconds
            ) as response:
                if not follow or not response.has_redirect_location:
                    return Answer(
                        status=response.status_code,
                        reason=response.reason_phrase,
                        text=await _text(response, limit),
                        location=response.headers.get("location", ""),
                    )
            target = _follow_redirect(target, response.headers["location"])
    raise httpx.TooManyRedirects(f"There were more than {REDIRECTS} redirects.")


def target_of(url: str, reach: Reach) -> Target:
    """Of the URL without its fragment, which is not sent. InvalidRequest where nothing may be sent to it."""
    return check_target(url.partition("#")[0], reach)


def _follow_redirect(target: Target, location: str) -> Target:
    following = target.url.join(location)
    if target.url.scheme == "https" and following.scheme != "https":
        raise target.reach.refusal("is redirected from https to http, which is not followed")
    try:
        return target_of(str(following), target.reach)
    except InvalidRequest as refusal:
        where = f"{following.scheme}://{following.host}"[:200]
        raise InvalidRequest(
            f"A redirect to {where} is refused. {refusal.detail}", field=refusal.field
        ) from None


@cache
def _connections() -> Connections:
    """Those of this process."""
    return Connections()


forks.register(_connections.cache_clear)


async def _text(response: httpx.Response, limit: int) -> str:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > limit:
            break
    kept = _decode(bytes(body[:limit]), response.encoding or "utf-8")
    return kept if len(body) <= limit else f"{kept}\n[… the rest is left out …]"


def _decode(body: bytes, encoding: str) -> str:
    try:
        text = body.decode(encoding, errors="replace")
    except (LookupError, UnicodeError):  # Python knows encodings that are not of text
        text = body.decode(errors="replace")
    # Records take no NUL.
    return text.replace("\0", "\ufffd")
