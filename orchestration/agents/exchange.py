"""One HTTP exchange, within limits of time, size and redirects."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

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


async def exchange(request: Exchange, *, seconds: float, limit: int) -> Answer:
    """Send `request`, wait `seconds` at most in all, and read `limit` bytes at most.

    Redirects are followed, five at most, where that can neither change nor leak what was asked for: for GET
    and HEAD without headers of their own. Raises `httpx.HTTPError`, or TimeoutError when the time is up.
    """
    follow = request.method in {"GET", "HEAD"} and not request.headers
    async with (
        asyncio.timeout(seconds),
        httpx.AsyncClient(timeout=seconds, follow_redirects=follow, max_redirects=REDIRECTS) as client,
        client.stream(
            request.method, request.url, headers=dict(request.headers), content=request.body
        ) as response,
    ):
        text = await _text(response, limit)
    return Answer(
        status=response.status_code,
        reason=response.reason_phrase,
        text=text,
        location=response.headers.get("location", ""),
    )


async def _text(response: httpx.Response, limit: int) -> str:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > limit:
            break
    kept = _decoded(bytes(body[:limit]), response.encoding or "utf-8")
    return kept if len(body) <= limit else f"{kept}\n[… the rest is left out …]"


def _decoded(body: bytes, encoding: str) -> str:
    try:
        text = body.decode(encoding, errors="replace")
    except (LookupError, UnicodeError):  # Python knows encodings that are not of text
        text = body.decode(errors="replace")
    # Records take no NUL.
    return text.replace("\0", "\ufffd")
