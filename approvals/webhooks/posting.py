"""One attempt to post one outcome: within its time, to checked addresses only, believing the status alone."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from approvals.callbacks import Due
from approvals.exceptions import InvalidRequest
from approvals.outboxes import Answer
from approvals.waiting.outages import described
from approvals.webhooks.messages import Message, message_of
from approvals.webhooks.targets import Address, Resolve, Resolver, Target, addresses_of, check_target

# Seconds for everything: resolving, redirects, an answer that comes byte by byte.
TIMEOUT = 15.0
# For one address; the host may have others.
CONNECTING = 5.0
# Read of an answer before its sender is cut off, out of courtesy: in seconds, and in bytes.
COURTESY = 1.0
ANSWER_LIMIT = 4096
REDIRECTS = 3

GONE = 410
FOLLOWED = {307, 308}


class Posting:
    """The carrier of callbacks. Holds no connection between attempts: one made for a host serves no other."""

    def __init__(
        self, *, resolve: Resolve | None = None, timeout: float = TIMEOUT, tls: ssl.SSLContext | None = None
    ) -> None:
        self._resolver = None if resolve else Resolver()
        self._resolve: Resolve = resolve or self._resolver  # type: ignore[assignment]  # one of both is there
        self._timeout = timeout
        self._tls = tls
        self._loading = asyncio.Lock()

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
            return Answer(error=described(error))

    def close(self) -> None:
        if self._resolver is not None:
            self._resolver.close()

    async def _follow(self, url: str, message: Message) -> Answer:
        target = check_target(url)
        for _ in range(REDIRECTS + 1):
            answer, location = await self._reach(target, message)
            if location is None:
                return answer
            following = target.url.join(location)
            if target.url.scheme == "https" and following.scheme != "https":
                return replace(answer, error="A redirect from https to http is not followed.")
            try:
                target = check_target(str(following))
            except InvalidRequest as refusal:
                return replace(
                    answer, error=f"A redirect to {_receiver(following)} is refused. {refusal.detail}"
                )
        return replace(answer, error=f"There were more than {REDIRECTS} redirects.")

    async def _reach(self, target: Target, message: Message) -> tuple[Answer, str | None]:
        """The answer, and a redirect to follow; by the first of the host's addresses that connects."""
        *others, last = await addresses_of(target, self._resolve)
        for address in others:
            with suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await self._exchange(target, address, message)
        return await self._exchange(target, last, message)

    async def _exchange(
        self, target: Target, address: Address, message: Message
    ) -> tuple[Answer, str | None]:
        # Connected by address, verified by name: the certificate must be the host's.
        named = {} if target.address is not None else {"sni_hostname": target.host}
        async with (
            httpx.AsyncClient(
                verify=await self._trust(),
                trust_env=False,
                follow_redirects=False,
                timeout=httpx.Timeout(self._timeout, connect=CONNECTING),
            ) as client,
            client.stream(
                "POST",
                target.at(address),
                headers={**message.headers, "Host": target.netloc},
                content=message.body,
                extensions=named,
            ) as response,
        ):
            answer = _answer(response)
            await _hear_out(response)
        return answer, _followed(response)

    async def _trust(self) -> ssl.SSLContext:
        async with self._loading:
            if self._tls is None:
                self._tls = await asyncio.to_thread(_trusted)
        return self._tls


def _receiver(url: httpx.URL) -> str:
    """Errors are kept for ever: without path and query, where secrets may be, or a user's password."""
    return f"{url.scheme}://{url.netloc.decode()}"[:200]


def _trusted() -> ssl.SSLContext:
    """What browsers trust, and what this computer does: perhaps an authority of its owner's."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context


def _answer(response: httpx.Response) -> Answer:
    status = response.status_code
    if 200 <= status < 300:
        return Answer(status_code=status)
    if status == GONE:
        return Answer(status_code=status, error="The receiver wants no more (410 Gone).", final=True)
    if _followed(response) is not None:
        return Answer(status_code=status)
    if 300 <= status < 400:
        error = f"A redirect by status {status} is not followed; 307 and 308 are, if they say where to."
        return Answer(status_code=status, error=error)
    return Answer(
        status_code=status,
        error=f"The receiver answered with status {status}.",
        retry_after=_retry_after(response.headers.get("retry-after", "")),
    )


def _followed(response: httpx.Response) -> str | None:
    """Where an answer redirects to, if that is followed."""
    return response.headers.get("location") or None if response.status_code in FOLLOWED else None


async def _hear_out(response: httpx.Response) -> None:
    """Let a short answer end; what it says, and how it ends, is of no interest."""
    heard = 0
    with suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(COURTESY):
            async for part in response.aiter_raw():
                heard += len(part)
                if heard >= ANSWER_LIMIT:
                    return


def _retry_after(text: str) -> float | None:
    """Seconds from now, given as such or as a date."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
