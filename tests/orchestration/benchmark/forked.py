"""The processes of a scenario as forks, see tests/forks.py: a benchmark starts five or more of them."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping
from typing import Any

from orchestration.benchmark.processes import LINE_LIMIT, Process
from tests.forks import Fork
from tests.processes import PROJECT


class Forked:
    """Speaks like `asyncio.subprocess.Process`, as far as `Process` asks."""

    stdin: asyncio.StreamWriter
    stdout: asyncio.StreamReader
    _ended: asyncio.Task[int | None] | None = None

    async def start(self, environment: Mapping[str, str], *arguments: str, errors: int) -> None:
        input_, to_child = os.pipe()
        from_child, output = os.pipe()
        command = ["-m", "orchestration.benchmark.child", *arguments]
        streams = (input_, output, errors)
        self._fork = Fork(command, environment=environment, directory=PROJECT, streams=streams)
        os.close(input_)
        os.close(output)
        loop = asyncio.get_running_loop()
        self.stdout = asyncio.StreamReader(limit=LINE_LIMIT)
        self._read, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self.stdout), os.fdopen(from_child, "rb", 0)
        )
        write, protocol = await loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, os.fdopen(to_child, "wb", 0)
        )
        self.stdin = asyncio.StreamWriter(write, protocol, None, loop)

    async def wait(self) -> int | None:
        if self._ended is None:
            self._ended = asyncio.create_task(asyncio.to_thread(self._fork.wait))
        status = await asyncio.shield(self._ended)
        self._read.close()
        self.stdin.close()
        return status

    def kill(self) -> None:
        self._fork.kill()


async def start(kind: type[Process], environment: Mapping[str, str], *arguments: str) -> Process:
    """In place of `Process.start`."""
    errors = tempfile.TemporaryFile()  # noqa: SIM115  as long as the process
    forked: Any = Forked()
    await forked.start(environment, *arguments, errors=errors.fileno())
    return kind(forked, errors)
