"""A real mail server on the loopback: takes what it is sent, refuses as it was told, or stays silent."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from email.policy import default

import django
from pytest_django import Settings

from tests.patience import patience

SMTP = "django.core.mail.backends.smtp.EmailBackend"

# For `MailServer.answers`: what a mail server says to a letter, and that it says nothing at all.
TAKEN, LATER, NEVER, SILENCE = "250 taken", "451 try again later", "554 not this one", ""


def send_by_smtp(settings: Settings, port: int, *, timeout: float = 10.0) -> None:
    """Have Django send mail to this port, with the settings of its version."""
    if django.VERSION >= (6, 1):
        options = {"host": "127.0.0.1", "port": port, "timeout": timeout}
        settings.MAILERS = {"default": {"BACKEND": SMTP, "OPTIONS": options}}
    else:
        settings.EMAIL_BACKEND, settings.EMAIL_HOST = SMTP, "127.0.0.1"
        settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = port, timeout


class MailServer(socketserver.ThreadingTCPServer):
    """`answers` are what the next letters are told; after them, `usual`. SILENCE: not even a greeting.

    After `letters_a_connection` letters, if that is not 0, it hangs up.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 200

    def __init__(self, usual: str = TAKEN) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.usual = usual
        self.answers: list[str] = []
        self.taken: list[Message] = []
        # When each was, on the machine's clock.
        self.times: list[float] = []
        self.connections = self.goodbyes = 0
        self.letters_a_connection = 0
        self.changed = threading.Condition()
        self.closing = threading.Event()
        # Cleared, it greets nobody until it is set.
        self.goes_on = threading.Event()
        self.goes_on.set()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """As EMAIL_URL."""
        return f"smtp://127.0.0.1:{self.port}"

    def wait_for(self, count: int) -> list[Message]:
        """Block until that many letters have been taken."""
        with self.changed:
            came = self.changed.wait_for(lambda: len(self.taken) >= count, patience())
            assert came, f"{len(self.taken)} of {count} letters have come"
            return list(self.taken)

    def taken_since(self, number: int) -> list[tuple[Message, float]]:
        """The letters after so many, each with the time when it was taken."""
        with self.changed:
            return list(zip(self.taken[number:], self.times[number:], strict=True))

    def wait_for_connections(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.connections >= count, patience())

    def wait_for_goodbyes(self, count: int) -> None:
        """Block until so many connections were closed in due form."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.goodbyes >= count, patience())

    def next_answer(self) -> str:
        return self.answers.pop(0) if self.answers else self.usual

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves in the middle is its own business."""


class _Session(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        with self.server.changed:
            self.server.connections += 1
            self.server.changed.notify_all()
        if self.server.usual == SILENCE:
            self.server.closing.wait()
            return
        self.server.goes_on.wait(patience())
        self._say("220 ready")
        came = 0
        while command := self.rfile.readline().strip().upper():
            if command.startswith(b"QUIT"):
                with self.server.changed:
                    self.server.goodbyes += 1
                    self.server.changed.notify_all()
                self._say("221 bye")
                return
            self._say(self._take() if command == b"DATA" else "250 fine")
            came += command == b"DATA"
            if came and came == self.server.letters_a_connection:
                return

    def _take(self) -> str:
        self._say("354 go on")
        lines = list(iter(self.rfile.readline, b".\r\n"))
        with self.server.changed:
            answer = self.server.next_answer()
            if answer == TAKEN:
                self.server.taken.append(message_from_bytes(b"".join(lines), policy=default))
                self.server.times.append(time.time())
            self.server.changed.notify_all()
        return answer

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@contextmanager
def mail_server(usual: str = TAKEN) -> Iterator[MailServer]:
    with MailServer(usual) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01], name="mail-server")
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
