"""HTTP connections for one request each, to an address of the target's host that was checked."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import cache

import httpx

from approvals.delivery.webhooks.targets import Resolve, Target, addresses_of

# Seconds for one address; the host may have others.
CONNECTING = 5.0
RESOLVERS = 16


class Connections:
    """Opens a new connection for each request.

    Follows no redirect and ignores the environment's proxies, which would resolve the name anew.
    """

    def __init__(self, *, resolve: Resolve | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._resolve = resolve or self._resolve_by_system
        self._resolvers = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="sayso-resolver")
        self._tls = tls

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        target: Target,
        *,
        headers: Mapping[str, str],
        content: str | bytes | None,
        timeout: float,  # noqa: ASYNC109 - httpx's, for each read and write
    ) -> AsyncIterator[httpx.Response]:
        """Send the request to the first of the host's addresses that accepts it; yield the response.

        Raises InvalidRequest if one of the addresses may not be requested, OSError if there is none, and
        `httpx.HTTPError`.
        """
        addresses = await addresses_of(target, self._resolve)
        limits = httpx.Timeout(timeout, connect=min(timeout, CONNECTING))
        tls = await asyncio.to_thread(_default_tls) if self._tls is None else self._tls
        # Connected by address, verified by name: the certificate must be the host's.
        named = {} if target.address is not None else {"sni_hostname": target.host}
        async with httpx.AsyncClient(verify=tls, trust_env=False, timeout=limits) as client:
            requests = [
                client.build_request(
                    method,
                    target.at(address),
                    headers={**headers, "Host": target.netloc},
                    content=content,
                    extensions=named,
                )
                for address in addresses
            ]
            response = await _first_that_connects(client, requests)
            try:
                yield response
            finally:
                await response.aclose()

    async def _resolve_by_system(self, host: str, port: int) -> list[str]:
        """Resolve on a thread of our own, so that a resolver that hangs blocks nothing else."""
        return await asyncio.get_running_loop().run_in_executor(self._resolvers, _resolve, host, port)

    def close(self) -> None:
        self._resolvers.shutdown(wait=False, cancel_futures=True)


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(address[0]) for *_, address in found]


async def _first_that_connects(client: httpx.AsyncClient, requests: list[httpx.Request]) -> httpx.Response:
    *others, last = requests
    for request in others:
        with suppress(httpx.ConnectError, httpx.ConnectTimeout):
            return await client.send(request, stream=True)
    return await client.send(last, stream=True)


@cache
def _default_tls() -> ssl.SSLContext:
    """Return a TLS context that trusts what browsers trust, and this computer's own authorities."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context
