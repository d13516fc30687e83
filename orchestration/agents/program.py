"""Run one program without a shell and within limits; all processes that it starts end with it."""

from __future__ import annotations

import asyncio
import codecs
import os
import signal
from asyncio import StreamReader, StreamReaderProtocol
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

# Seconds to wait for output after the end: a process that left the group may hold the pipe open.
LAST_WORDS = 1.0
CHUNK = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How the program ended: its exit status, negative for a signal, or None where its time was up."""

    status: int | None
    output: str


async def run_program(
    path: str,
    arguments: Sequence[str],
    *,
    directory: str,
    seconds: float,
    output_limit: int,
    hear: Callable[[str], Awaitable[None]],
) -> Finished:
    """Run `path` in `directory` for at most `seconds`; return stdout and stderr as one text.

    It gets no input, and an environment without the secrets of this process. The first and last halves of
    `output_limit` bytes of output are kept; `hear` gets the same text in pieces while the program runs. When
    it ends, its time is up or the caller is cancelled, its process group is killed.
    """
    kept = _KeptOutput(limit=output_limit)
    async with _pipe() as (reader, writing):
        process = await _start(path, arguments, directory, writing)
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(_listen(reader, kept, hear))
            status = await _wait_or_kill(process, seconds)
            await asyncio.wait({listening}, timeout=LAST_WORDS)
            listening.cancel()
    await hear(kept.rest())
    return Finished(status=status, output=kept.text)


async def _start(path: str, arguments: Sequence[str], directory: str, output: int) -> Process:
    path_here = os.pathsep.join(os.get_exec_path())
    try:
        return await asyncio.create_subprocess_exec(
            path,
            *arguments,
            stdin=DEVNULL,
            stdout=output,
            stderr=STDOUT,
            cwd=directory,
            env={"PATH": path_here, "HOME": directory, "LANG": "C.UTF-8", "TERM": "dumb"},
            start_new_session=True,
        )
    finally:
        os.close(output)


async def _wait_or_kill(process: Process, seconds: float) -> int | None:
    try:
        async with asyncio.timeout(seconds):
            return await process.wait()
    except TimeoutError:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _listen(reader: StreamReader, kept: _KeptOutput, hear: Callable[[str], Awaitable[None]]) -> None:
    while output := await reader.read(CHUNK):
        if text := kept.add(output):
            await hear(text)


@asynccontextmanager
async def _pipe() -> AsyncIterator[tuple[StreamReader, int]]:
    """Open a pipe. With asyncio's own, a program would end only when all that inherited its output do."""
    reading, writing = os.pipe()
    reader = StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: StreamReaderProtocol(reader), os.fdopen(reading, "rb", 0)
    )
    try:
        yield reader, writing
    finally:
        transport.close()


@dataclass(slots=True, kw_only=True)
class _KeptOutput:
    """The first and the last half of the output, `limit` bytes in all, as text."""

    limit: int
    text: str = ""
    room: int = field(init=False)
    last: bytearray = field(default_factory=bytearray)
    left_out: int = 0
    decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")(errors="replace")
    )

    def __post_init__(self) -> None:
        self.room = self.limit // 2

    def add(self, output: bytes) -> str:
        """Keep what there is room for, and return what that adds to the text so far."""
        first, others = output[: self.room], output[self.room :]
        self.room -= len(first)
        self.last += others
        surplus = max(0, len(self.last) - self.limit // 2)
        self.left_out += surplus
        del self.last[:surplus]
        return self._put(self.decoder.decode(first))

    def rest(self) -> str:
        """Return the end of the text."""
        gap = ""
        if self.left_out:
            gap = self.decoder.decode(b"", final=True) + f"\n[… {self.left_out:,} bytes left out …]\n"
            self.decoder.reset()
        return self._put(gap + self.decoder.decode(bytes(self.last), final=True))

    def _put(self, text: str) -> str:
        text = text.replace("\0", "\ufffd")  # the database can't store NUL
        self.text += text
        return text
