"""The agent `command`: run a program on this machine, if the settings allow it."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from orchestration.agents.arguments import Arguments, check_with
from orchestration.agents.program import run_program
from orchestration.catalog import agent
from orchestration.exceptions import InvalidInput, StepFailed
from orchestration.policies import allowlists
from orchestration.runs.messages import MessageWriter
from orchestration.runs.run import Run

OUTPUT_LIMIT = 65_536


class Command(Arguments):
    """A program to run. `timeout` in seconds, `output_limit` in bytes; no `directory`: an empty one."""

    actions = ("run",)

    program: str
    arguments: list[str] = []
    directory: str | None = None
    timeout: Annotated[float, Field(gt=0, le=3600)] = 60.0
    output_limit: Annotated[int, Field(ge=1000, le=262_144)] = OUTPUT_LIMIT

    def check_here(self) -> None:
        """Raise InvalidInput for a program that is not allowed or not found, and for a missing directory."""
        allowlists.check_program(self.program)
        _path(self.program)
        directory = self.directory
        if directory is not None and not (directory.startswith("/") and Path(directory).is_dir()):
            raise InvalidInput(
                f"arguments.directory: {directory!r} is not the absolute path of a directory.",
                field="arguments.directory",
            )


@agent("command", description="Runs a program of this machine, without a shell and within limits.")
@check_with(Command)
async def command(run: Run, action: str, arguments: dict[str, Any]) -> str:
    """Run a program that `SAYSO_COMMANDS` names; its output is shown while it runs, and is the result.

    The step fails unless the program exits with status 0 within the time limit. An interrupted step is never
    repeated without asking.

    Step: `{"agent": "command", "action": "run", "arguments": {"program": "df", "arguments": ["-h"]}}`
    """
    asked = Command.read(action, arguments)
    async with run.speaking("command") as speak:
        ended = await run.step(f"run {asked.program}"[:100], partial(_run, speak), asked.model_dump())
        if not speak.text:  # a replay: the program ran before the restart
            await speak(str(ended["output"]))
    if ended["status"] != 0:
        raise StepFailed(_how_it_failed(asked, ended))
    return str(ended["output"])


def _path(program: str) -> str:
    """Return the program's path; a name is looked up in this process's PATH."""
    path = shutil.which(program)
    if path is None:
        raise InvalidInput(
            f"arguments.program: there is no program {program!r} here.", field="arguments.program"
        )
    return os.path.abspath(path)  # noqa: PTH100 - it is going to run in another directory


async def _run(speak: MessageWriter, given: dict[str, Any]) -> dict[str, Any]:
    asked = Command(**given)
    asked.check_here()
    async with _directory(asked) as directory:
        ended = await run_program(
            _path(asked.program),
            asked.arguments,
            directory=directory,
            seconds=asked.timeout,
            output_limit=asked.output_limit,
            hear=speak,
        )
    return {"status": ended.status, "output": ended.output}


@asynccontextmanager
async def _directory(asked: Command) -> AsyncIterator[str]:
    if asked.directory is not None:
        yield asked.directory
        return
    empty = tempfile.mkdtemp()
    try:
        yield empty
    finally:
        await asyncio.to_thread(shutil.rmtree, empty, ignore_errors=True)


def _how_it_failed(asked: Command, ended: dict[str, Any]) -> str:
    if ended["status"] is None:
        return f"{asked.program} was stopped after {asked.timeout:g} seconds"
    how = f"ended with status {ended['status']}"
    if ended["status"] < 0:
        how = f"was ended by signal {-ended['status']}"
    return f"{asked.program} {how}: {ended['output'].strip()[-1000:]}"
