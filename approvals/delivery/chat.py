"""Short messages to chats, by the package `apprise` of the extra `chat`; administrators give the addresses.

An address such as `slack://…` names a service, and where in it. Only services that SAYSO_CHAT_SCHEMES lists
are used, redirects are not followed, and each wait for the service is bounded. apprise takes a second to
import, so that is done on a thread, when the first message is sent.
"""

from __future__ import annotations

import asyncio
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from approvals.conf import approval_settings
from approvals.delivery.messages import ChatMessage
from approvals.writer.outboxes import Answer

AT_ONCE = 8
# Seconds: to connect, between two parts of an answer, and for everything; shorter than a claim.
CONNECTING, READING, LONGEST = 5.0, 10.0, 30.0

NOT_INSTALLED = "The extra `chat` is not installed: pip install 'sayso[chat]'."
UNUSABLE = "The address is none that the installation can use."
TOO_SLOW = f"The chat did not answer within {LONGEST:g} s."

_STATUS = re.compile(r"error=(\d{3})\b")
_CODES_THAT_END = {400, 401, 403, 404, 410}
# Parameters of addresses that would undo what is set here, or have a file or URL read into the message.
_REFUSED = ("redirect", "rto", "cto", "verify", "template")
# What chats read as a link, or as calling people, in a text that somebody else wrote.
_HARMLESS = str.maketrans({"<": "‹", ">": "›", "[": "［", "]": "］", "@": "＠"})  # noqa: RUF001 - meant to differ


def is_installed() -> bool:
    """Whether chats can be written to here."""
    return find_spec("apprise") is not None


def fault_of(address: str) -> str | None:
    """Return why nothing can be sent to this address; None if it can. Slow at the first call."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "is no address"
    schemes = approval_settings().chat_schemes
    if parts.scheme not in schemes:
        return f"must begin with one of {', '.join(f'{each}://' for each in schemes)} (SAYSO_CHAT_SCHEMES)"
    given = parse_qsl(parts.query, keep_blank_values=True)
    named = {name.strip().lower().lstrip("+-:") for name, _ in given}
    if refused := [name for name in _REFUSED if name in named]:
        return f"must not have the parameter {refused[0]}"
    if not is_installed():
        return "can't be used: the extra `chat` is not installed"
    return None if _open(address) is not None else "is none that the service understands"


class ChatSender:
    """Writes to chats, on threads of its own; a chat that hangs blocks nothing else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sayso-chat")

    async def send(self, address: str, message: ChatMessage) -> Answer:
        """Send the message. Never raises for what the chat does."""
        try:
            async with asyncio.timeout(LONGEST):
                return await asyncio.get_running_loop().run_in_executor(self._threads, send, address, message)
        except TimeoutError:
            return Answer(error=TOO_SLOW)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def send(address: str, message: ChatMessage) -> Answer:
    """Send the message now. Never raises for what the chat does."""
    if not is_installed():
        return Answer(error=NOT_INSTALLED)
    if fault := fault_of(address):
        return Answer(error=f"The address {fault}.", final=True)
    service = _open(address)
    if service is None:
        return Answer(error=UNUSABLE, final=True)
    heard = _Heard()
    service.logger = heard.logger
    if service.notify(title=_subject(message), body=message.link, body_format="text"):
        return Answer()
    return heard.answer()


def _subject(message: ChatMessage) -> str:
    title = message.title.translate(_HARMLESS)
    return f"{message.heading}: {title}" if title else message.heading


def _open(address: str) -> Any:
    """Return apprise's service for this address, with limits of ours; None where it understands none."""
    import apprise

    asset = apprise.AppriseAsset(
        app_id="Sayso",
        app_desc="Sayso",
        http_redirects=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    service = apprise.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
    if service is not None:
        # Again, whatever the address says in a spelling that was not refused.
        service.redirects, service.verify_certificate = False, True
        service.socket_connect_timeout, service.socket_read_timeout = CONNECTING, READING
        if getattr(service, "template", None):
            return None
    return service


class _Heard(logging.Handler):
    """What a service logs about one message: the only place where it says why it failed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._status: int | None = None
        self.logger = logging.Logger("chat", logging.WARNING)  # noqa: LOG001 - of one message
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if found := _STATUS.search(record.getMessage()):
            self._status = int(found.group(1))

    def answer(self) -> Answer:
        """Return the status without the text, which may name the address."""
        status = self._status
        if status is None:
            return Answer(error="The chat could not be reached, or did not take the message.")
        return Answer(
            status_code=status,
            error=f"The chat answered with status {status}.",
            final=status in _CODES_THAT_END,
        )
