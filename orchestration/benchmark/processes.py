"""The environment of a scenario: processes and servers that share a new database, and a progress bar."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, Self, TypeVar, cast

from orchestration.benchmark.installation import PROJECT, Stack

# The longest line: ids of a million waits.
LINE_LIMIT = 1 << 30
ENDING = 5.0

Progress = Callable[[int, int], None]
"""Receives how many steps are done, and how many are expected."""


class Remote:
    """An object that lives in a process of its own, on its event loop, until that process is ended.

    `Environment.start` makes one there and returns a stand-in: a coroutine method that is called here runs in
    that process. Arguments and results are JSON, so a tuple comes back as a list.
    """

    async def begin(self) -> None:
        """Prepare. Called before any other method."""


R = TypeVar("R", bound=Remote)
T = TypeVar("T")


class ProcessFailed(RuntimeError):
    """A method raised in its process, or the process ended; says what it printed."""


class Process:
    """A child process (child.py): it answers one question after the other, each a line of JSON."""

    def __init__(self, process: asyncio.subprocess.Process, errors: Any) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("a process is asked by pipes")
        self._process, self._errors = process, errors
        self._input, self._output = process.stdin, process.stdout

    @classmethod
    async def start(cls, environment: Mapping[str, str], *arguments: str) -> Self:
        errors = tempfile.TemporaryFile()  # noqa: SIM115  as long as the process
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "orchestration.benchmark.child", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=dict(environment),
            cwd=PROJECT,
            limit=LINE_LIMIT,
            process_group=0,  # Ctrl-C in a terminal is for the command, which ends its processes
        )
        return cls(process, errors)

    async def ask(self, **question: Any) -> Any:
        """Return the process's answer; ProcessFailed with the traceback where it raised."""
        with suppress(ConnectionError):  # then there is no answer
            self._input.write(json.dumps(question).encode() + b"\n")
            await self._input.drain()
        line = await self._output.readline()
        if not line:
            status = await self._process.wait()
            self._errors.seek(0)
            printed = self._errors.read().decode(errors="replace")[-4000:]
            raise ProcessFailed(f"a process ended with {status}:\n{printed}")
        answer = json.loads(line)
        if "error" in answer:
            raise ProcessFailed(answer["error"])
        return answer["result"]

    async def end(self) -> None:
        """End the process, whatever it is doing."""
        self._input.close()
        try:
            await asyncio.wait_for(self._process.wait(), ENDING)
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        self._errors.close()


class Proxy:
    """Stands for a Remote of another process."""

    def __init__(self, process: Process, kind: type[Remote]) -> None:
        self.process = process
        self._kind = f"{kind.__module__}.{kind.__qualname__}"

    def __getattr__(self, method: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            return self.process.ask(kind=self._kind, method=method, arguments=arguments, named=named)

        return call


class Server(Process):
    """A server process of the scenario, on `port` of the loopback."""

    port: int

    async def usage(self) -> tuple[int, float]:
        """Return its bytes in memory, and the seconds of CPU time that it has used so far."""
        self.port, memory, cpu = await self.ask()
        return memory, cpu


class Environment(AsyncExitStack):
    """What one scenario is measured in; an async context manager that ends its processes."""

    def __init__(
        self,
        stack: Stack,
        variables: Mapping[str, str],
        *,
        loop: str,
        progress: Progress,
        rounds: int | None = None,
    ) -> None:
        super().__init__()
        self.stack = stack
        self._variables, self._loop, self._progress, self._rounds = variables, loop, progress, rounds
        self._done = self._expected = 0

    async def start(self, kind: type[R], *, beside: Remote | None = None) -> R:
        """Make an object in a new process, and return what stands for it here.

        `beside`: an object that it talks to. Where the stack carries one process only, both are in that.
        """
        shared = beside is not None and not self.stack.two_processes
        if shared:
            process = cast("Proxy", beside).process
        else:
            process = await Process.start(self._variables, f"--loop={self._loop}")
            self.push_async_callback(process.end)
        remote = cast("R", Proxy(process, kind))
        await remote.begin()
        return remote

    async def stop(self, remote: Remote) -> None:
        """End the object's process."""
        await cast("Proxy", remote).process.end()

    async def serve(self, application: str, **settings: str) -> Server:
        """Start a server, see child.py. `settings`: variables that differ from the installation's."""
        server = await Server.start({**self._variables, **settings}, f"--serve={application}")
        self.push_async_callback(server.end)
        await server.usage()  # once it listens
        return server

    def rounds(self, usual: int) -> int:
        """Return how many rounds to compare in: `usual`, or as many as `--rounds` says."""
        return usual if self._rounds is None else self._rounds

    def turns(self, contenders: Sequence[T], rounds: int) -> Iterator[tuple[int, T]]:
        """Go through the contenders of every round, in changing order: (number of the round, contender)."""
        return self.steps([(n, contender) for n in range(rounds) for contender in in_turns(contenders, n)])

    def steps(self, items: Sequence[T]) -> Iterator[T]:
        """Go through them, and show on the progress bar how many are done."""
        self._expected += len(items)
        self._progress(self._done, self._expected)
        for item in items:
            yield item
            self._done += 1
            self._progress(self._done, self._expected)


def in_turns(contenders: Sequence[T], round_number: int) -> Sequence[T]:
    """Order the contenders for this round: each comes first, and after each other, equally often."""
    turn = round_number % len(contenders)
    turned = [*contenders[turn:], *contenders[:turn]]
    return turned if round_number // len(contenders) % 2 == 0 else turned[::-1]
