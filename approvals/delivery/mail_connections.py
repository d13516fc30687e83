"""Connections to the mail server that stay open from one message to the next.

Each carries one message at a time. One that failed is not used again, and before another message one is asked
whether it is still there: a message that was handed over is never handed over again from here.
"""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Any

from django.conf import settings
from django.core import mail
from django.core.mail import EmailMessage


class MailConnections:
    """Sends messages from several threads, by connections that it keeps: one for each message under way."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: list[Any] = []
        self._closed = False

    def send(self, make: Callable[[], EmailMessage]) -> None:
        """Make the message once the server is there for it, and send it.

        Raises OSError, smtplib.SMTPException, and what `make` raises.
        """
        backend = self._take()
        try:
            message = make()
        except BaseException:
            self._keep(backend)
            raise
        try:
            backend.send_messages([message])
        except smtplib.SMTPRecipientsRefused:
            # smtplib has taken the message back: the next one can go the same way.
            self._keep(backend)
            raise
        except BaseException:
            _abandon(backend)
            raise
        self._keep(backend)

    def end_idle(self) -> None:
        """Close the connections that carry nothing now."""
        with self._lock:
            idle, self._kept = self._kept, []
        for backend in idle:
            with suppress(OSError, smtplib.SMTPException):
                backend.close()

    def close(self) -> None:
        """Close them all without waiting for the server; what carries a message now follows afterwards."""
        with self._lock:
            idle, self._kept, self._closed = self._kept, [], True
        for backend in idle:
            _abandon(backend)

    def _take(self) -> Any:
        while True:
            with self._lock:
                backend = self._kept.pop() if self._kept else None
            if backend is None:
                backend = _new_backend()
                backend.open()
                return backend
            if _is_there(backend):
                return backend
            _abandon(backend)

    def _keep(self, backend: Any) -> None:
        with self._lock:
            if not self._closed:
                self._kept.append(backend)
                return
        _abandon(backend)


def _new_backend() -> Any:
    """Return Django's backend for mail, of its own version."""
    return mail.mailers.default if hasattr(settings, "MAILERS") else mail.get_connection()


def _is_there(backend: Any) -> bool:
    """Ask the server for nothing (NOOP); backends without a connection are always there."""
    connection = getattr(backend, "connection", None)
    if connection is None:
        return True
    try:
        code, _ = connection.noop()
    except (OSError, smtplib.SMTPException):
        return False
    return bool(code == 250)


def _abandon(backend: Any) -> None:
    """Close the connection without a word to the server, which may not answer."""
    connection = getattr(backend, "connection", None)
    if connection is not None:
        connection.close()
        backend.connection = None
