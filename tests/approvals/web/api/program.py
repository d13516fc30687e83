"""A program that calls the API as a person, by token or by session."""

from __future__ import annotations

import json
from typing import Any, Self

from django.contrib.auth.models import User
from django.test import Client

from approvals.web.edge import tokens

ROOT = "/api/v1"
ALL = ("ask", "decide", "read")


class Program:
    """Each call names the status that it expects, and returns the JSON of the answer."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.last: Any = None

    @classmethod
    def of(cls, user: User, *scopes: str) -> Self:
        """With a new token of this user; all scopes unless some are named."""
        _, secret = tokens.issue(user.pk, "tests", scopes or ALL)
        return cls.with_secret(secret)

    @classmethod
    def with_secret(cls, secret: str) -> Self:
        return cls(Client(headers={"authorization": f"Bearer {secret}"}))

    @classmethod
    def in_session(cls, user: User, *, enforce_csrf_checks: bool = False) -> Self:
        client = Client(enforce_csrf_checks=enforce_csrf_checks)
        client.force_login(user)
        return cls(client)

    def get(self, path: str, expected: int = 200, /, **parameters: Any) -> Any:
        return self._read(self.client.get(ROOT + path, parameters), expected)

    def post(self, path: str, body: object = None, status: int = 200) -> Any:
        return self.send(path, json.dumps({} if body is None else body), status)

    def send(self, path: str, body: str | bytes, status: int = 200) -> Any:
        """The body as it is."""
        return self._read(self.client.post(ROOT + path, body, content_type="application/json"), status)

    def ask(self, title: str = "Refund", *, kind: str = "approval", status: int = 201, **fields: Any) -> Any:
        return self.post("/requests", {"kind": kind, "title": title, **fields}, status)

    def _read(self, response: Any, status: int) -> Any:
        assert response.status_code == status, response.content
        expected = "application/json" if status < 400 else "application/problem+json"
        assert response.headers["Content-Type"].partition(";")[0] == expected
        self.last = response
        return response.json()


def fields_at_fault(problem: Any) -> list[str]:
    return [error["field"] for error in problem["errors"]]
