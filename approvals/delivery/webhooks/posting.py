"""Post one outcome, once: within a time limit, to checked addresses only. Only the status counts."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from approvals.delivery.webhooks.connections import Connections
from approvals.delivery.webhooks.messages import Message, message_of
from approvals.delivery.webhooks.targets import Reach, Resolve, Target, callback_reach, check_target
from approvals.exceptions import InvalidRequest
from approvals.waiting.outages import describe
from approvals.writer.callbacks import Due
from approvals.writer.outboxes import Answer

# Seconds for everything: resolving, redirects, an answer that comes byte by byte.
TIMEOUT = 15.0
# How much of an answer is read before the connection is closed: seconds and bytes.
COURTESY = 1.0
ANSWER_LIMIT = 4096
REDIRECTS = 3

GONE = 410
FOLLOWED = {307, 308}


class WebhookCarrier:
    """Posts the callbacks of the outbox; `reach` says where to anything may be posted."""

    def __init__(
        self,
        *,
        reach: Callable[[], Reach] = callback_reach,
        resolve: Resolve | None = None,
        timeout: float = TIMEOUT,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed = reach
        self._connections = Connections(resolve=resolve, tls=tls)
        self._timeout = timeout

    async def deliver(self, due: Due) -> Answer:
        return await self.post(due.url, message_of(due))

    async def post(self, url: str, message: Message) -> Answer:
        """Post the message, following 307 and 308. Never raises for what the other side does."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._follow(url, message)
        except TimeoutError:
            return Answer(error=f"There was no answer within {self._timeout:g} s.")
        except InvalidRequest as refusal:
            return Answer(error=refusal.detail)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            return Answer(error=describe(error))

    def close(self) -> None:
        self._connections.close()

    async def _follow(self, url: str, message: Message) -> Answer:
        target = check_target(url, self._allowed())
        for _ in range(REDIRECTS + 1):
            answer, location = await self._reach(target, message)
            if location is None:
                return answer
            following = target.url.join(location)
            if target.url.scheme == "https" and following.scheme != "https":
                return replace(answer, error="A redirect from https to http is not followed.")
            try:
                target = check_target(str(following), self._allowed())
            except InvalidRequest as refusal:
                return replace(
                    answer, error=f"A redirect to {_receiver(following)} is refused. {refusal.detail}"
                )
        return replace(answer, error=f"There were more than {REDIRECTS} redirects.")

    async def _reach(self, target: Target, message: Message) -> tuple[Answer, str | None]:
        """Send the message to this target; return the answer, and where it redirects to."""
        async with self._connections.stream(
            "POST", target, headers=message.headers, content=message.body, timeout=self._timeout
        ) as response:
            answer = _answer(response)
            await _hear_out(response)
        return answer, _redirect_of(response)


def _receiver(url: httpx.URL) -> str:
    """Return the URL without user, path and query, where secrets may be: errors are kept for ever."""
    return f"{url.scheme}://{url.netloc.decode()}"[:200]


def _answer(response: httpx.Response) -> Answer:
    status = response.status_code
    if 200 <= status < 300 or _redirect_of(response) is not None:
        return Answer(status_code=status)
    if status == GONE:
        return Answer(
            status_code=status, error="The receiver answered 410 Gone, which stops retries.", final=True
        )
    if 300 <= status < 400:
        error = f"A redirect by status {status} is not followed; 307 and 308 are, if they say where to."
        return Answer(status_code=status, error=error)
    return Answer(
        status_code=status,
        error=f"The receiver answered with status {status}.",
        retry_after=_retry_after(response.headers.get("retry-after", "")),
    )


def _redirect_of(response: httpx.Response) -> str | None:
    """Return where the answer redirects to, if that is followed."""
    return response.headers.get("location") or None if response.status_code in FOLLOWED else None


async def _hear_out(response: httpx.Response) -> None:
    """Read a short answer to its end, ignoring what it says and how it ends."""
    heard = 0
    with suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(COURTESY):
            async for part in response.aiter_raw():
                heard += len(part)
                if heard >= ANSWER_LIMIT:
                    return


def _retry_after(text: str) -> float | None:
    """Parse Retry-After, seconds or a date, to seconds from now."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
