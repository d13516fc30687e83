"""Logged-in clients for the tests of pages, and what a reader sees of a page."""

from __future__ import annotations

import re
from typing import Any

from django.contrib.auth.models import User
from django.test import Client


def client_of(person: User, **options: Any) -> Client:
    """A client in which this person is logged in."""
    client = Client(**options)
    client.force_login(person)
    return client


def browser_of(person: User, **options: Any) -> Client:
    """The same with an address and a browser, which the trail names."""
    return client_of(person, HTTP_USER_AGENT="Firefox", REMOTE_ADDR="192.0.2.7", **options)


def text(response: Any, status: int = 200) -> str:
    """The text of a page, without its tags."""
    assert response.status_code == status, response
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))
