"""One program, run without a shell and within limits. Nothing that it starts outlives it."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

# How long output may still arrive from a process that has left the group and holds the pipe open.
LAST_WORDS = 1.0
CHUNK = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How it ended: the exit status, negative for a signal, or None where its time was up."""

    status: int | None
    output: str


async def run_program(
    path: str,
    arguments: Sequence[str],
    *,
    directory: str,
    seconds: float,
    output_limit: int,
    hear: Callable[[bytes], None] = lambda output: None,
) -> Finished:
    """Run `path` in `directory` for `seconds` at most; stdout and stderr come back as one text.

    It gets no input and a bare environment, without the secrets of this process. Of its output the first and
    last parts are kept, `output_limit` bytes in all; `hear` is given everything as it comes. When the program
    ends, when its time is up and when the caller is cancelled, its whole process group is killed.
    """
    kept = _Kept(limit=output_limit)
    async with _pipe() as (reader, writing):
        process = await _started(path, arguments, directory, writing)
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(_listen(reader, kept, hear))
            status = await _ended(process, seconds)
            await asyncio.wait({listening}, timeout=LAST_WORDS)
            listening.cancel()
    return Finished(status=status, output=kept.text())


async def _started(path: str, arguments: Sequence[str], directory: str, output: int) -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            path,
            *arguments,
            stdin=DEVNULL,
            stdout=output,
            stderr=STDOUT,
            cwd=directory,
            env=_environment(directory),
            start_new_session=True,
        )
    finally:
        os.close(output)


async def _ended(process: Process, seconds: float) -> int | None:
    try:
        async with asyncio.timeout(seconds):
            return await process.wait()
    except TimeoutError:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _listen(reader: asyncio.StreamReader, kept: _Kept, hear: Callable[[bytes], None]) -> None:
    while output := await reader.read(CHUNK):
        kept.add(output)
        hear(output)


@asynccontextmanager
async def _pipe() -> AsyncIterator[tuple[asyncio.StreamReader, int]]:
    """Our own pipe: asyncio's would make the end of a program wait for all who inherited its output."""
    reading, writing = os.pipe()
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", 0)
    )
    try:
        yield reader, writing
    finally:
        transport.close()


def _environment(directory: str) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": directory,
        "LANG": "C.UTF-8",
        "TERM": "dumb",
    }


@dataclass(slots=True, kw_only=True)
class _Kept:
    """The first and the last half of what was said, `limit` bytes in all."""

    limit: int
    first: bytearray = field(default_factory=bytearray)
    last: bytearray = field(default_factory=bytearray)
    total: int = 0

    def add(self, output: bytes) -> None:
        half = self.limit // 2
        room = half - len(self.first)
        self.total += len(output)
        self.first += output[:room]
        self.last = (self.last + output[room:])[-half:]

    def text(self) -> str:
        left_out = self.total - len(self.first) - len(self.last)
        gap = f"\n[… {left_out:,} bytes left out …]\n".encode() if left_out else b""
        # Records take no NUL.
        return (self.first + gap + self.last).decode(errors="replace").replace("\0", "\ufffd")
