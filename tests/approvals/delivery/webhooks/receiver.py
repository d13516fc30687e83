"""A real receiver of webhooks on the loopback: answers as its paths say, or as it was told; remembers all."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.patience import patience

NEVER = 0
# What a slow answer pauses for, between one byte and the next.
DRIP = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """`answers` are the statuses of the next requests to `/told`; after them, 200. NEVER: it hangs."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.posted: list[Posted] = []
        self.answers: list[int] = []
        self.headers: dict[str, str] = {}
        self.at_once = 0
        self.most_at_once = 0
        self.changed = threading.Condition()
        self.closing = threading.Event()

    def wait_for(self, count: int) -> list[Posted]:
        """Block until that many requests have come."""
        with self.changed:
            came = self.changed.wait_for(lambda: len(self.posted) >= count, patience())
            assert came, f"{len(self.posted)} of {count} requests have come"
            return list(self.posted)

    def note(self, posted: Posted) -> int:
        """Remember a request; what `/told` answers to it."""
        with self.changed:
            self.posted.append(posted)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.changed.notify_all()
            return self.answers.pop(0) if self.answers else 200

    def over(self) -> None:
        with self.changed:
            self.at_once -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: object) -> None:
        """Whoever posts may hang up whenever it likes."""


@contextmanager
def receiver(tls: ssl.SSLContext | None = None, port: int = 0) -> Iterator[Receiver]:
    server = _Server(("127.0.0.1", port), _Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    seen = Receiver(server.server_port)
    server.seen = seen  # type: ignore[attr-defined]  # the handler's only way to its server
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield seen
    finally:
        seen.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        seen: Receiver = self.server.seen
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        told = seen.note(Posted(method=self.command, path=self.path, headers=dict(self.headers), body=body))
        try:
            with suppress(OSError):
                self._act(seen, told)
        finally:
            seen.over()

    do_GET = do_POST  # noqa: N815 (a name that http.server looks for)

    def _act(self, seen: Receiver, told: int) -> None:
        address = urlsplit(self.path)
        match address.path.strip("/").split("/"):
            case ["told"] if told == NEVER:
                seen.closing.wait()
            case ["told"]:
                self._answer(told, **seen.headers)
            case ["status", status]:
                self._answer(int(status), **seen.headers)
            case ["redirect", status]:
                self._answer(int(status), Location=parse_qs(address.query)["to"][0])
            case ["circle"]:
                self._answer(307, Location=self.path)
            case ["hang"]:
                seen.closing.wait()
            case ["drip"]:
                self._drip(seen, b"HTTP/1.1 200 OK\r\nX-Slow: ")
            case ["dripping_body"]:
                self._drip(seen, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            case ["flood"]:
                self._flood(seen)
            case ["nonsense"]:
                self.wfile.write(b"220 mail.example.org ESMTP\r\n")
            case ["hang_up"]:
                self.close_connection = True
            case _:
                self._answer(204)

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Set-Cookie", "known=yes; Path=/")
        for name, value in headers.items():
            self.send_header(name, value)
        if status not in {204, 304}:
            self.send_header("Content-Length", "2")
        self.end_headers()
        if status not in {204, 304}:
            self.wfile.write(b"ok")

    def _drip(self, seen: Receiver, beginning: bytes) -> None:
        self.wfile.write(beginning)
        while not seen.closing.wait(DRIP):
            self.wfile.write(b"x")

    def _flood(self, seen: Receiver) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not seen.closing.is_set():
            self.wfile.write(bytes(65_536))

    def log_message(self, *_: object) -> None:
        """Tests speak for themselves."""
