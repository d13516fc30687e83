"""The installation as strangers reach it: over HTTP, at whichever server answers, again until one does."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from tests.faults.storm.clock import passes

PATIENCE = 15.0
PAUSES = (0.2, 0.5, 1.0, 2.0)


class Api:
    """Whatever is asked here may be asked twice: by a key, or because the same decision is the same."""

    def __init__(self, servers: Sequence[str], tokens: Mapping[str, str]) -> None:
        self.troubles = Counter[str]()
        self.requests = 0
        self._servers = servers
        self._tokens = tokens
        limits = httpx.Limits(max_connections=400, max_keepalive_connections=60)
        self._client = httpx.AsyncClient(trust_env=False, timeout=PATIENCE, limits=limits)
        self._dice = random.Random()  # which server a proxy chooses is no part of the plan

    async def call(
        self, who: str, method: str, path: str, *, body: Any = None, **query: Any
    ) -> httpx.Response:
        """The first answer that is one: not "later", not "I have failed"."""
        return await self._until_answered(
            method,
            f"/api/v1{path}",
            json=body,
            params=query or None,
            headers=self.authorization(who),
            timeout=PATIENCE + query.get("wait", 0.0),
        )

    async def press(self, path: str, form: Mapping[str, Any]) -> httpx.Response:
        """The first answer to a button of a page that wants no log-in; likewise."""
        return await self._until_answered("POST", path, data=form, timeout=PATIENCE)

    async def _until_answered(self, method: str, path: str, **sent: Any) -> httpx.Response:
        attempt = 0
        while True:
            if (reply := await self._once(method, path, sent)) is not None:
                return reply
            await passes(PAUSES[min(attempt, len(PAUSES) - 1)] * self._dice.uniform(0.5, 1.5))
            attempt += 1

    async def _once(self, method: str, path: str, sent: Mapping[str, Any]) -> httpx.Response | None:
        self.requests += 1
        try:
            reply = await self._client.request(method, f"{self._dice.choice(self._servers)}{path}", **sent)
        except httpx.TransportError as error:
            self.troubles[type(error).__name__] += 1
            return None
        if reply.status_code < 500 and reply.status_code != 429:
            return reply
        code = reply.json().get("code", "") if "json" in reply.headers.get("content-type", "") else "page"
        self.troubles[f"{reply.status_code} {code}"] += 1
        return None

    def socket_address(self) -> str:
        return self._dice.choice(self._servers).replace("http", "ws", 1) + "/ws/api/inbox/"

    def authorization(self, who: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._tokens[who]}"}

    async def close(self) -> None:
        await self._client.aclose()
