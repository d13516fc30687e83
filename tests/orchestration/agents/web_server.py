"""A real HTTP server on the loopback, which answers as its addresses say and remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class WebServer:
    """`closing` lets go of the addresses that never answer."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def paths(self) -> list[str]:
        return [f"{asked.method} {asked.path}" for asked in self.asked]


@contextmanager
def web_server() -> Iterator[WebServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    seen = WebServer(url=f"http://127.0.0.1:{server.server_port}")
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

    def do_GET(self) -> None:
        seen: WebServer = self.server.seen
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        seen.asked.append(Asked(self.command, self.path, dict(self.headers), body))
        path, _, query = self.path.partition("?")
        match path.strip("/").split("/"):
            case ["status", status]:
                self._answer(int(status), b"as you wish")
            case ["redirect", "0"]:
                self._answer(200, b"arrived")
            case ["redirect", times]:
                self._answer(302, b"", Location=f"/redirect/{int(times) - 1}")
            case ["elsewhere"]:
                self._answer(302, b"", Location="ftp://127.0.0.1/")
            case ["to"]:
                self._answer(302, b"", Location=query)
            case ["bytes", size]:
                self._answer(200, b"x" * int(size))
            case ["charset", name]:
                self._answer(200, b"caf\xe9\0", **{"Content-Type": f"text/plain; charset={name}"})
            case ["never"]:
                seen.closing.wait()
            case _:
                self._answer(200, b"hello")

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815 (names that http.server looks for)

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Tests speak for themselves."""
