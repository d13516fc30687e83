"""The mailboxes of a storm: a real mail server takes what is sent, and people find their links there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message

from tests.faults.storm.clock import passes
from tests.mail_server import MailServer

ADDRESS = "https://sayso.example.com"
DOMAIN = "example.org"
# Seconds between two looks at the mailboxes, and for which somebody waits for a message.
LOOKING, PATIENCE = 0.3, 8.0

_ID = re.compile(r"<([0-9a-f-]{36})@sayso\.example\.com>")
_REQUEST = re.compile(r"<request-([0-9a-f-]{36})@sayso\.example\.com>")
_LINK = re.compile(rf"{re.escape(ADDRESS)}(/d/[\w-]{{43}}/)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message as it was taken: `id` is that of its notification; `link` its personal link, "" without."""

    id: str
    person: str
    request_id: str
    link: str
    at: float


class Mailboxes:
    """What the mail server has taken so far, read as it comes."""

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._letters: list[Letter] = []
        self._links: dict[tuple[str, str], str] = {}

    def letters(self) -> Sequence[Letter]:
        """All of them, in the order in which they were taken."""
        for message, at in self._server.taken_since(len(self._letters)):
            letter = read(message, at)
            self._letters.append(letter)
            if letter.link:
                self._links[letter.person, letter.request_id] = letter.link
        return self._letters

    async def link_for(self, person: str, request_id: str, unless: asyncio.Event) -> str:
        """The link in a message to this person about this request; "" if none comes soon enough."""
        waited = 0.0
        while True:
            self.letters()
            if link := self._links.get((person, request_id)):
                return link
            if waited >= PATIENCE or await passes(LOOKING, unless=unless):
                return ""
            waited += LOOKING


def read(message: Message, at: float) -> Letter:
    """Take from a message what an audit needs; "" for what it does not say."""
    body = message.get_body(("plain",))  # type: ignore[attr-defined]  # an EmailMessage by its policy
    link = _LINK.search(body.get_content())
    return Letter(
        id=_first(_ID, message["Message-ID"]),
        person=str(message["To"]).removesuffix(f"@{DOMAIN}"),
        request_id=_first(_REQUEST, message["References"]),
        link=link[1] if link else "",
        at=at,
    )


def _first(pattern: re.Pattern[str], text: str | None) -> str:
    found = pattern.search(text or "")
    return found[1] if found else ""
