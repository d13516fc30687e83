"""The environment of a scenario: processes and servers that share a fresh database, and a progress bar."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from types import MappingProxyType
from typing import Any, TypeVar, cast

from orchestration.benchmark.installation import PROJECT, Stack

# The longest line: ids of a million waits.
LINE_LIMIT = 1 << 30
ENDING = 5.0

Progress = Callable[[int, int], None]
"""Told how many steps are done, and how many are expected."""

NOTHING: Mapping[str, str] = MappingProxyType({})


class Remote:
    """An object that lives in a process of its own, on its event loop, from `begin` to `end`.

    `Environment.start` makes one there and returns what stands for it here: each coroutine method that is
    called runs in that process. Arguments and results are JSON, so a tuple comes back as a list.
    """

    async def begin(self) -> None:
        """Prepare. Called before any other method."""

    async def end(self) -> None:
        """Clean up. Called after the last, where the process ends in good order."""


R = TypeVar("R", bound=Remote)
T = TypeVar("T")


class ProcessFailed(RuntimeError):
    """A method raised in its process, or the process ended; says what it printed."""


class Process:
    """A child process (child.py): answers one question after the other, each a line of JSON."""

    def __init__(self, process: asyncio.subprocess.Process, errors: Any) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("a process is asked by pipes")
        self._process, self._errors = process, errors
        self._input, self._output = process.stdin, process.stdout

    @classmethod
    async def start(cls, environment: Mapping[str, str], *arguments: str) -> Process:
        errors = tempfile.TemporaryFile()  # noqa: SIM115  as long as the process
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "orchestration.benchmark.child", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=dict(environment),
            cwd=PROJECT,
            limit=LINE_LIMIT,
            process_group=0,  # Ctrl-C in a terminal is for us; we end the processes
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
        self._kind = f"{kind.__module__}:{kind.__qualname__}"

    def __getattr__(self, method: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            return self.process.ask(kind=self._kind, method=method, arguments=arguments, named=named)

        return call


class Server:
    """A server process of the scenario, on a port of the loopback."""

    def __init__(self, process: Process, port: int) -> None:
        self._process, self.port = process, port

    async def usage(self) -> tuple[int, float]:
        """Return the bytes that it has in memory, and the seconds of CPU time that it has used so far."""
        _, memory, cpu = await self._process.ask()
        return memory, cpu


class Environment:
    """One scenario's own; an async context manager that ends its processes."""

    def __init__(
        self,
        stack: Stack,
        variables: Mapping[str, str],
        *,
        loop: str,
        progress: Progress,
        rounds: int | None = None,
    ) -> None:
        self.stack = stack
        self._variables, self._loop, self._progress, self._rounds = variables, loop, progress, rounds
        self._done = self._expected = 0
        self._ending = AsyncExitStack()

    async def __aenter__(self) -> Environment:
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self._ending.aclose()

    async def start(self, kind: type[R], *, beside: Remote | None = None) -> R:
        """Make an object in a new process, and return what stands for it here.

        `beside`: an object that it talks to. Where the stack carries one process only, both are in that.
        """
        shared = beside is not None and not self.stack.two_processes
        process = cast("Proxy", beside).process if shared else await self._start(f"--loop={self._loop}")
        remote = cast("R", Proxy(process, kind))
        await remote.begin()
        return remote

    async def stop(self, remote: Remote) -> None:
        """Close the remote object, and stop its process cleanly."""
        await remote.end()
        await cast("Proxy", remote).process.end()

    async def serve(self, what: str, *, settings: Mapping[str, str] = NOTHING) -> Server:
        """Start a server, see child.py. `settings`: variables that are not the installation's."""
        process = await self._start(f"--serve={what}", settings=settings)
        return Server(process, (await process.ask())[0])

    def rounds(self, usual: int) -> int:
        """Return how many rounds to compare in: `usual`, unless the command was told otherwise."""
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

    async def _start(self, *arguments: str, settings: Mapping[str, str] = NOTHING) -> Process:
        process = await Process.start({**self._variables, **settings}, *arguments)
        self._ending.push_async_callback(process.end)
        return process


def in_turns(contenders: Sequence[T], round_number: int) -> Sequence[T]:
    """Order the contenders for this round: each comes first, and after each other, equally often."""
    turn = round_number % len(contenders)
    turned = [*contenders[turn:], *contenders[:turn]]
    return turned if round_number // len(contenders) % 2 == 0 else turned[::-1]
