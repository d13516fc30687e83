"""Where adapters keep the state of a run that frameworks leave to the application."""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from sayso_client.errors import SaysoError


class Store(Protocol):
    """Keeps a text for each run, through crashes. Both methods may be coroutine functions.

    The text is trusted: who can write it decides what the agent does.
    """

    def save(self, run: str, text: str) -> Awaitable[None] | None:
        """Keep the text instead of what there was; it must be kept when this returns."""

    def load(self, run: str) -> Awaitable[str | None] | str | None:
        """Return the text that was saved last; None if there is none."""


class Files:
    """A store of files in a directory, for runs of one machine."""

    def __init__(self, directory: str | Path) -> None:
        self._directory = Path(directory)

    def save(self, run: str, text: str) -> None:
        """Write the file whole, or not at all."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._file(run).with_suffix(".new")
        with new.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._file(run))

    def load(self, run: str) -> str | None:
        """Read the file, if there is one."""
        file = self._file(run)
        return file.read_text(encoding="utf-8") if file.exists() else None

    def _file(self, run: str) -> Path:
        return self._directory / f"{sha256(run.encode()).hexdigest()}.json"


class RunEnded(SaysoError):
    """A run of this name has ended before; `output` is what came out, as JSON."""

    code = "run_ended"

    def __init__(self, run: str, output: Any) -> None:
        super().__init__(f"The run {run!r} has ended: a new one needs a name of its own.")
        self.output = output


async def awaited(value: Any) -> Any:
    """Return what a method of a store returns, awaited where it is a coroutine function."""
    return await value if inspect.isawaitable(value) else value
