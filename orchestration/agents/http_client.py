"""Send one HTTP request, with limits of hosts, time, size and redirects."""

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
    """The exact request. `body` is sent as UTF-8; `headers` must have its Content-Type."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer; `location` is the target of a redirect that was not followed."""

    status: int
    reason: str
    text: str
    location: str = ""


async def exchange(
    request: Exchange, *, reach: Reach, seconds: float, limit: int, connections: Connections | None = None
) -> Answer:
    """Send the request, wait at most `seconds` in all, and read at most `limit` bytes of the answer.

    Up to five redirects are followed, but only for GET and HEAD without headers: for others that could change
    or leak the request. Raises InvalidRequest where the request or a redirect is out of `reach`,
    `httpx.HTTPError`, OSError, or TimeoutError when the time is up.
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
    """Return the target of a URL, without its fragment; InvalidRequest where it is out of reach."""
    return check_target(url.partition("#")[0], reach)


def _follow_redirect(target: Target, location: str) -> Target:
    following = target.url.join(location)
    if target.url.scheme == "https" and following.scheme != "https":
        raise target.reach.refusal("redirects from https to http, which is not followed")
    try:
        return target_of(str(following), target.reach)
    except InvalidRequest as refusal:
        where = f"{following.scheme}://{following.host}"[:200]
        raise InvalidRequest(
            f"A redirect to {where} is refused. {refusal.detail}", field=refusal.field
        ) from None


@cache
def _connections() -> Connections:
    """Return the connections of this process."""
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
    except (LookupError, UnicodeError):  # some of Python's encodings are not for text
        text = body.decode(errors="replace")
    # The database can't store NUL.
    return text.replace("\0", "\ufffd")
