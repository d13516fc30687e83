"""What tests have processes hold: an ordinary object, and waiters that report what is not so."""

from __future__ import annotations

import os
import signal

from orchestration.benchmark.load import Waiter
from orchestration.benchmark.processes import Remote


class Parrot(Remote):
    """Says what it is told."""

    def __init__(self) -> None:
        self.began = self.heard = 0

    async def begin(self) -> None:
        self.began += 1

    async def say(self, words: list[str], *, loudly: bool = False) -> list[str]:
        self.heard += 1
        print("whatever a library prints")
        return [word.upper() for word in words] if loudly else words

    async def count(self) -> tuple[int, int]:
        return self.began, self.heard

    async def stumble(self) -> None:
        raise ValueError("a stone")

    async def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def pid(self) -> int:
        return os.getpid()


class Forgetful(Waiter):
    """Lost its first wait."""

    async def told(self, ids: list[str] | None = None) -> list[tuple[str, str]]:
        return (await super().told(ids))[1:]


class Stuttering(Waiter):
    """Was resumed twice."""

    async def told(self, ids: list[str] | None = None) -> list[tuple[str, str]]:
        told = await super().told(ids)
        return [*told, told[0]]


class Dreaming(Waiter):
    """Was told what nobody decided."""

    async def told(self, ids: list[str] | None = None) -> list[tuple[str, str]]:
        told = await super().told(ids)
        return [(told[0][0], "rejected"), *told[1:]]
