"""Browsers and programs as strangers have them, at real servers; and what is on record, to compare."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
from django.contrib.auth.models import User
from django.test import Client
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from approvals.models import AuditEntry, HumanRequest, Response
from approvals.web.edge import tokens
from tests import factories
from tests.connections import ABNORMAL
from tests.patience import patience
from tests.processes import Server


class Socket:
    """One open WebSocket, read frame by frame. `shown` are the ids in the list that these add up to."""

    def __init__(self, connection: ClientConnection) -> None:
        self.raw = connection
        self.shown: set[str] = set()
        self._partial = False

    async def opened(self) -> None:
        """Read hello and the whole snapshot."""
        await self.next("hello")
        await self.next("snapshot")
        while self._partial:
            await self.next()

    async def next(self, kind: str | None = None) -> dict[str, Any]:
        """The next frame, which must be of this kind if one is named. Raises ConnectionClosed."""
        async with asyncio.timeout(patience()):
            frame: dict[str, Any] = json.loads(await self.raw.recv())
        assert kind in (None, frame["type"]), frame
        self._note(frame["type"], frame["data"])
        return frame

    async def until(self, kind: str) -> dict[str, Any]:
        """The next frame of this kind; others are dropped."""
        while (frame := await self.next())["type"] != kind:
            pass
        return frame

    async def say(self, kind: str, ref: Any = None, **data: Any) -> None:
        await self.raw.send(json.dumps({"type": kind, "ref": ref, "data": data}))

    async def decide(self, request_id: str, decision: str = "approve") -> dict[str, Any]:
        """Decide; the answer to exactly that."""
        await self.say("decide", request_id, request_id=request_id, decision=decision)
        while (frame := await self.next())["ref"] != request_id:
            pass
        return frame

    async def closed(self) -> int:
        """Drop what still comes; the code of the close."""
        try:
            while True:
                await self.next()
        except ConnectionClosed as end:
            return end.rcvd.code if end.rcvd else ABNORMAL

    def _note(self, kind: str, data: dict[str, Any]) -> None:
        match kind:
            case "snapshot":
                told = {request["id"] for request in data["requests"]}
                self.shown = self.shown | told if self._partial else told
                self._partial = data["more"]
            case "request_opened":
                self.shown.add(data["request"]["id"])
            case "request_closed":
                self.shown.remove(data["request"]["id"])


@asynccontextmanager
async def socket(
    server: Server, headers: Mapping[str, str], path: str = "/ws/inbox/"
) -> AsyncIterator[Socket]:
    """A socket that was opened with these headers; read up to its snapshot."""
    async with connect(
        f"{server.websocket_url}{path}", additional_headers=headers, max_size=None, proxy=None
    ) as connection:
        opened = Socket(connection)
        await opened.opened()
        yield opened


class Person:
    """Somebody with a browser that is logged in at the server."""

    def __init__(self, server: Server, user: User) -> None:
        self.server = server
        self.user = user
        session = Client()
        session.force_login(user)
        self.session_key = str(session.session.session_key)

    @property
    def headers(self) -> dict[str, str]:
        return {"Origin": self.server.url, "Cookie": f"sessionid={self.session_key}"}

    def socket(self, **headers: str) -> AbstractAsyncContextManager[Socket]:
        return socket(self.server, self.headers | headers)

    def browser(self) -> httpx.Client:
        """Pages and forms, with the session's cookie and no CSRF token yet."""
        client = httpx.Client(base_url=self.server.url, trust_env=False, timeout=patience())
        client.cookies.set("sessionid", self.session_key, domain="127.0.0.1")
        return client

    def log_out(self) -> None:
        """As people do it: by the button on a page."""
        with self.browser() as browser:
            browser.get("/")
            token = {"X-CSRFToken": browser.cookies["csrftoken"]}
            assert browser.post("/accounts/logout/", headers=token).is_redirect


class Program:
    """A program that acts as a user, by a token with these scopes."""

    def __init__(self, server: Server, *scopes: str, user: User | None = None) -> None:
        self.server = server
        self.user = user or factories.user()
        token, secret = tokens.issue(self.user.pk, "agent", scopes)
        self.token_id: UUID = token.pk
        self.headers = {"Authorization": f"Bearer {secret}"}

    def socket(self) -> AbstractAsyncContextManager[Socket]:
        return socket(self.server, self.headers, "/ws/api/inbox/")

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=f"{self.server.url}/api/v1", headers=self.headers, trust_env=False, timeout=patience()
        )


def on_record() -> dict[str, list[dict[str, Any]]]:
    """All that decisions leave behind: equal before and after what must leave nothing."""
    return {
        model.__name__: list(model.objects.order_by("pk").values())
        for model in (HumanRequest, AuditEntry, Response)
    }
