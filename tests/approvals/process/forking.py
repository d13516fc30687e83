"""Programs that ask, fork, and ask again in their children and themselves.

    python -m tests.approvals.process.forking children
    python -m tests.approvals.process.forking writes
    python -m tests.approvals.process.forking loop
    python -m tests.approvals.process.forking lease
    python -m tests.approvals.process.forking server PORT

Each prints what came of it in one line, or goes on until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import django

CHILDREN = 3
WRITES = 300


def children() -> None:
    """Children of `multiprocessing`, while this process asks, waits, and has a coroutine waiting."""
    from orchestration.events import orchestration_config as config

    waiting = _wait_in_a_thread("parent")
    config.set_approval_pending("inherited")
    forking = multiprocessing.get_context("fork")
    results: Any = forking.Queue()
    processes = [forking.Process(target=_child, args=(number, results)) for number in range(CHILDREN)]
    for process in processes:
        process.start()
    told = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    from approvals import deciding
    from approvals.domain.commands import Actor

    deciding.decide(Actor.program(), _request_of("parent"), "approve")
    print(
        json.dumps(
            {
                "children": sorted(told),
                "exit": [process.exitcode for process in processes],
                "waited": waiting.result(60),
                "again": asyncio.run(_ask_and_decide("again")),
            }
        )
    )


def _child(number: int, results: Any) -> None:
    from orchestration.events import orchestration_config as config

    open_files = _open_database_files()
    status = asyncio.run(_ask_and_decide(f"child-{number}"))
    again = asyncio.run(_ask_and_decide(f"child-{number}-again"))
    known = config.approvals["inherited"]
    results.put([number, status, again, known, open_files])


async def _ask_and_decide(key: str) -> str:
    """Ask, wait, be decided meanwhile by another coroutine, and return the status that the wait was told."""
    from approvals import deciding, gate
    from approvals.domain.commands import Actor

    request_id = await gate.aopen_approval(f"May {key} go on?", key=key)
    waiting = asyncio.create_task(gate.wait_for_outcome(request_id))
    await asyncio.sleep(0)
    await deciding.adecide(Actor.program(), request_id, "approve")
    return (await waiting).status


def _wait_in_a_thread(key: str) -> Future[str]:
    """A wait that is under way, with all that this takes, when the process forks."""
    from approvals import gate
    from approvals.waiting.waiting_room import waiting_room

    told: Future[str] = Future()

    async def ask() -> str:
        return (await gate.request_approval(f"May {key} go on?", key=key)).status

    threading.Thread(target=lambda: told.set_result(asyncio.run(ask()))).start()
    while not len(waiting_room()):
        threading.Event().wait(0.01)
    return told


def _request_of(key: str) -> Any:
    from approvals import queries

    request = queries.request_of_key("", key)
    assert request is not None
    return request.pk


def _open_database_files() -> int:
    """How many files of SQLite's this process has open, before it used the database itself."""
    open_files = (each.resolve() for each in Path("/proc/self/fd").glob("*"))
    return sum(".sqlite3" in each.name for each in open_files)


def writes() -> None:
    """Fork in the midst of writing: the parent writes what it was handed, the child nothing of it."""
    from approvals.database.fields import new_id
    from approvals.domain.commands import Actor, OpenRequest
    from approvals.domain.lifecycle import Kind, Verdict
    from approvals.writer import queue

    def opening(number: int) -> OpenRequest:
        return OpenRequest(
            request_id=new_id(), actor=Actor.program(), kind=Kind.APPROVAL, title=f"Write {number}",
            on_timeout=Verdict.REJECT,
        )  # fmt: skip

    statuses = []
    for start in range(0, WRITES, 100):
        handed = [queue.submit(opening(number)) for number in range(start, start + 100)]
        if (child := os.fork()) == 0:
            queue.submit(opening(1000 + start)).result(60)
            os._exit(0)
        for write in handed:
            write.result(60)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(json.dumps({"statuses": statuses}))


def loop() -> None:
    """Fork in a coroutine, where Django lets nobody close a connection."""

    async def main() -> None:
        statuses = [await _ask_and_decide("before")]
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            os.write(writing, asyncio.run(_ask_and_decide("child")).encode())
            os._exit(0)
        await asyncio.to_thread(os.waitpid, child, 0)
        statuses += [os.read(reading, 100).decode(), await _ask_and_decide("after")]
        print(json.dumps(statuses))

    asyncio.run(main())


def lease() -> None:
    """Take a lease, and fork a child that lives until its standard input ends."""
    from orchestration.engines import leases

    taken = leases.take()
    if os.fork() == 0:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for output in (1, 2):
            os.dup2(nowhere, output)
        sys.stdin.read()
        os._exit(0)
    print(taken.process_id, flush=True)
    signal.pause()


def server(port: str) -> None:
    """A pre-forking server: it loads everything, asks once, and forks two workers for one socket."""
    import uvicorn

    from config.asgi import application

    asyncio.run(_ask_and_decide("before"))
    listening = socket.create_server(("127.0.0.1", int(port)), backlog=100)
    parent_lives, held_by_parent = os.pipe()
    for _ in range(2):
        if os.fork() == 0:
            os.close(held_by_parent)
            threading.Thread(target=_end_with_parent, args=(parent_lives,), daemon=True).start()
            uvicorn.Server(uvicorn.Config(application, log_level="warning")).run(sockets=[listening])
            os._exit(0)
    listening.close()
    print("serving", flush=True)
    signal.pause()


def _end_with_parent(parent_lives: int) -> None:
    os.read(parent_lives, 1)
    os._exit(0)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    programs: dict[str, Callable[..., None]] = {
        "children": children,
        "writes": writes,
        "loop": loop,
        "lease": lease,
        "server": server,
    }
    programs[sys.argv[1]](*sys.argv[2:])
