"""What a scenario is given: a stack with a fresh database, players to cast, a way to say how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from types import MappingProxyType
from typing import Any, TypeVar

from orchestration.benchmark.installation import Stack
from orchestration.benchmark.players import Part, Player
from orchestration.benchmark.roles import Role

R = TypeVar("R", bound=Role)

Progress = Callable[[int, int], None]


class Stage:
    """One scenario's own; an async context manager that ends its players."""

    def __init__(
        self,
        stack: Stack,
        environment: Mapping[str, str],
        *,
        loop: str,
        progress: Progress,
        rounds: int | None = None,
    ) -> None:
        self.stack = stack
        self._environment = environment
        self._loop = loop
        self._progress = progress
        self._rounds = rounds
        self._done = self._expected = 0
        self._ending = AsyncExitStack()

    async def __aenter__(self) -> Stage:
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self._ending.aclose()

    async def part(
        self,
        role: type[R],
        *,
        opposite: Part[Any] | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> Part[R]:
        """Have the role played in a new process.

        `opposite`: who plays on the other side. Where the stack carries one process only, both are in that.
        `settings`: variables of a new process's environment that are not the installation's.
        """
        shared = opposite is not None and not self.stack.two_processes
        player = opposite.player if opposite and shared else await self._new_player(settings)
        part = Part(player, role)
        await part.begin()
        return part

    async def dismiss(self, part: Part[Any]) -> None:
        """End the part's process now, in good order."""
        await part.end()
        await part.player.end()

    def rounds(self, usual: int) -> int:
        """How many rounds to compare in: `usual`, unless the command was told otherwise."""
        return usual if self._rounds is None else self._rounds

    def expect(self, steps: int) -> None:
        """So many steps are to come, beside those that were expected before."""
        self._expected += steps
        self._progress(self._done, self._expected)

    def step(self, steps: int = 1) -> None:
        self._done += steps
        self._progress(self._done, self._expected)

    async def _new_player(self, settings: Mapping[str, str]) -> Player:
        player = await Player.start({**self._environment, **settings}, loop=self._loop)
        self._ending.push_async_callback(player.end)
        return player
