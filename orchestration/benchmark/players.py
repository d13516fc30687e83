"""The other end of player.py: processes that play roles, started, told what to do, and ended."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from orchestration.benchmark.roles import Role

PROJECT = Path(__file__).resolve().parents[2]

# The longest line: ids of a million waits.
LINE_LIMIT = 1 << 30
ENDING = 5.0

R = TypeVar("R", bound=Role)
P = ParamSpec("P")
T = TypeVar("T")


class PlayerFailed(RuntimeError):
    """A player's deed raised, or its process ended; says what it had to say."""


class Player:
    """One child process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise ValueError("a player is talked to by pipes")
        self._process = process
        self._input = process.stdin
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._end: str | None = None
        self._last_words: deque[str] = deque(maxlen=50)
        self._reading = [
            asyncio.create_task(self._read(process.stdout)),
            asyncio.create_task(self._read_errors(process.stderr)),
        ]

    @classmethod
    async def start(cls, environment: Mapping[str, str], *, loop: str) -> Player:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "orchestration.benchmark.player",
            f"--loop={loop}",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(environment),
            cwd=PROJECT,
            limit=LINE_LIMIT,
            process_group=0,  # Ctrl-C in a terminal is for us; we end the players
        )
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, role: str, deed: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        """Have a role do something; returns what it returned, raises PlayerFailed with its traceback."""
        if self._end is not None:
            raise PlayerFailed(self._end)
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        told = {"number": number, "role": role, "deed": deed, "arguments": arguments, "named": named}
        try:
            self._input.write(json.dumps(told).encode() + b"\n")
            with suppress(ConnectionError):  # then the reader tells what has become of the process
                await self._input.drain()
            return await answer
        finally:
            del self._waiting[number]

    async def end(self) -> None:
        """End the process, whatever it is doing."""
        self._input.close()
        try:
            await asyncio.wait_for(self._process.wait(), ENDING)
        except TimeoutError:
            self.kill()
            await self._process.wait()
        for task in self._reading:
            task.cancel()

    def kill(self) -> None:
        """As `kill -9`."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def _read(self, output: asyncio.StreamReader) -> None:
        while line := await output.readline():
            answer = json.loads(line)
            waiting = self._waiting.get(answer["number"])
            if waiting is None or waiting.done():
                continue
            if "error" in answer:
                waiting.set_exception(PlayerFailed(answer["error"]))
            else:
                waiting.set_result(answer["result"])
        status = await self._process.wait()
        self._end = "\n".join([f"a player ended with {status}:", *self._last_words])
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(PlayerFailed(self._end))

    async def _read_errors(self, errors: asyncio.StreamReader) -> None:
        while line := await errors.readline():
            self._last_words.append(line.decode(errors="replace").rstrip())


class Part(Generic[R]):
    """One role in one player. `await part(Role.deed, …)` has it done there; arguments and result are JSON."""

    def __init__(self, player: Player, role: type[R]) -> None:
        self.player = player
        self._role = f"{role.__module__}:{role.__qualname__}"

    async def begin(self) -> None:
        await self.player.ask(self._role, "begin", (), {})

    async def __call__(
        self, deed: Callable[Concatenate[R, P], Awaitable[T]], *arguments: P.args, **named: P.kwargs
    ) -> T:
        result: T = await self.player.ask(self._role, deed.__name__, arguments, named)
        return result

    async def end(self) -> None:
        await self.player.ask(self._role, "end", (), {})
