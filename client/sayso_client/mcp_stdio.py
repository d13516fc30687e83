"""Messages of MCP over stdio as they are on the wire: lines, each of them JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, Protocol


class Stream(Protocol):
    """What is known of standard input and output, whatever they are connected to."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Pipe:
    """Where lines go, whole, from any thread; to nowhere once nobody reads."""

    def __init__(self, stream: Stream) -> None:
        self._stream, self._lock, self._open = stream, Lock(), True

    def write(self, line: bytes) -> None:
        """Write the line to its end."""
        left = memoryview(line)
        with self._lock:
            try:
                while left and self._open:
                    left = left[os.write(self._stream.fileno(), left) :]
            except OSError:
                self._open = False

    def send(self, message: Mapping[str, Any]) -> None:
        """Write a message of JSON-RPC."""
        self.write(line_of({"jsonrpc": "2.0", **message}))

    def close(self) -> None:
        """Tell who reads that there is no more."""
        with self._lock:
            self._open = False
            self._stream.close()


def lines(stream: Stream) -> Iterator[bytes]:
    """Read line by line, of any length, until the end; past the stream's own buffer and lock."""
    left = b""
    while chunk := os.read(stream.fileno(), 1 << 16):
        *whole, left = (left + chunk).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if left:
        yield left


def parsed(line: bytes) -> Any:
    """Return what the line says; ValueError or RecursionError where it can't be read, or read in two ways."""
    return json.loads(line.decode(), object_pairs_hook=_without_doubles)


def line_of(message: Any) -> bytes:
    """Return the message as a line."""
    return json.dumps(message).encode() + b"\n"


def _without_doubles(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object. People could be shown one of two values of a name, and the server take the other."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return made
