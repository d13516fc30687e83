"""A process of a scenario: `python -m orchestration.benchmark.child [--loop LOOP | --serve APPLICATION]`.

It answers JSON lines of its standard input on what was its standard output; anything else that it prints goes
to standard error. It ends with its input, so it never outlives its parent. It holds Remotes; or it is a
server: daphne on a free port of the loopback, with the defaults of `manage.py serve`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import sys
import threading
import traceback
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import django
from django.utils.module_loading import import_string

from approvals.process import collector
from orchestration.benchmark.processes import Remote

# What makes the application that is served; the second one's module is of the extra `benchmark`.
PRODUCT = "channels.routing.get_default_application"
BARE = "orchestration.benchmark.sockets.bare_application"

Answer = Callable[[dict[str, Any]], object]


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument("--serve", metavar="APPLICATION")
    options = parser.parse_args()
    output = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    logging.getLogger().setLevel(logging.WARNING)

    def answer(words: dict[str, Any]) -> None:
        output.write(json.dumps(words) + "\n")

    if options.serve:
        serve(options.serve, answer)
        return
    # The module `uvloop` is of the extra `fast`.
    loop_factory = import_string(f"{options.loop}.new_event_loop")
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(hold(answer))


async def hold(answer: Answer) -> None:
    """Hold this process's objects, and call their methods."""
    loop, questions = asyncio.get_running_loop(), asyncio.Queue[dict[str, Any]]()
    _listen(lambda question: loop.call_soon_threadsafe(questions.put_nowait, question))
    remotes: dict[str, Remote] = {}
    while True:
        question = await questions.get()
        kind, method = question["kind"], question["method"]
        try:
            if method == "begin":
                remotes[kind] = import_string(kind)()
                collector.tune()  # as our servers do, when their code is loaded
            called = getattr(remotes[kind], method)
            result = {"result": await called(*question["arguments"], **question["named"])}
        except Exception:  # noqa: BLE001  the process's outer edge: the parent raises it
            result = {"error": traceback.format_exc()}
        answer(result)


def serve(application: str, answer: Answer) -> None:
    """Serve, and answer every question with the port, memory (bytes) and CPU time so far (seconds)."""
    # Importing it makes Twisted's reactor.
    from daphne.endpoints import build_endpoint_description_strings

    from approvals.web.edge.serving import Server

    server = Server(
        application=import_string(application)(),
        endpoints=build_endpoint_description_strings(host="127.0.0.1", port=0),
        server_name="",
    )
    listening = threading.Event()
    server.ready_callable = listening.set

    def tell(question: dict[str, Any]) -> None:
        listening.wait()
        answer({"result": [server.listening_addresses[0][1], memory(), process_time()]})

    _listen(tell)
    server.run()


def memory() -> int:
    """Return the bytes that this process has in memory; where the system does not say, the most it had."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def _listen(handle: Callable[[dict[str, Any]], object]) -> None:
    """Pass questions on from a thread, so that even a process whose loop is stuck ends with its input."""

    def read() -> None:
        for line in sys.stdin.buffer:
            handle(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, name="questions", daemon=True).start()


if __name__ == "__main__":
    main()
