"""A process that plays parts of a scenario: `python -m orchestration.benchmark.player`.

It is told what to do by JSON lines on its standard input and answers on what was its standard output; what
else the process prints goes to standard error. It ends when its input does, so none outlives who started it.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import resource
import sys
import threading
import traceback
from argparse import ArgumentParser
from typing import Any, BinaryIO

import django

from orchestration.benchmark.roles import Role


class Performance:
    """The roles of this process, and their deeds under way."""

    def __init__(self, wire: BinaryIO) -> None:
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._roles: dict[str, Role] = {}
        self._deeds: set[asyncio.Task[None]] = set()

    def hear(self, line: bytes) -> None:
        """Take one line, on the loop. Deeds run side by side."""
        deed = self._loop.create_task(self._carry_out(json.loads(line)))
        self._deeds.add(deed)
        deed.add_done_callback(self._deeds.discard)

    async def _carry_out(self, told: dict[str, Any]) -> None:
        try:
            result = await self._deed(told)
        except Exception:  # noqa: BLE001  the process's outer edge: who asked is told
            self._say({"number": told["number"], "error": traceback.format_exc()})
        else:
            self._say({"number": told["number"], "result": result})

    async def _deed(self, told: dict[str, Any]) -> Any:
        name = told["role"]
        if told["deed"] == "begin":
            module, _, role = name.partition(":")
            self._roles[name] = getattr(importlib.import_module(module), role)()
        return await getattr(self._roles[name], told["deed"])(*told["arguments"], **told["named"])

    def _say(self, words: dict[str, Any]) -> None:
        self._wire.write(json.dumps(words).encode() + b"\n")
        self._wire.flush()


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    loop = parser.parse_args().loop
    wire = _own_output()
    _open_as_many_files_as_allowed()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    logging.getLogger().setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=_loop_factory(loop)) as runner:
        runner.run(_play(wire))


async def _play(wire: BinaryIO) -> None:
    performance = Performance(wire)
    loop = asyncio.get_running_loop()
    threading.Thread(target=_listen, args=(loop, performance), name="player-input", daemon=True).start()
    await loop.create_future()


def _listen(loop: asyncio.AbstractEventLoop, performance: Performance) -> None:
    # A thread, so that even a player whose loop is stuck ends with who started it.
    for line in sys.stdin.buffer:
        loop.call_soon_threadsafe(performance.hear, line)
    os._exit(0)


def _own_output() -> BinaryIO:
    """Standard output for our own lines alone."""
    wire = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return wire


def _open_as_many_files_as_allowed() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _loop_factory(name: str) -> Any:
    if name == "asyncio":
        return asyncio.new_event_loop
    import uvloop  # of the extra `fast`

    return uvloop.new_event_loop


if __name__ == "__main__":
    main()
