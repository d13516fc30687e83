"""A server process: `python -m orchestration.benchmark.serving product|bare`.

Daphne on a free port of the loopback, told no more than `manage.py serve` tells it. It answers with JSON
lines: first its port, then what it uses, whenever a line comes. It ends when its input does, so none outlives
who started it.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import threading
from argparse import ArgumentParser
from pathlib import Path
from time import process_time
from typing import Any

import django

PRODUCT, BARE = "product", "bare"


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=[PRODUCT, BARE])
    kind = parser.parse_args().kind
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    threading.Thread(target=_listen, name="server-input", daemon=True).start()
    _serve(kind)


def _serve(kind: str) -> None:
    # Importing it makes Twisted's reactor.
    from daphne.endpoints import build_endpoint_description_strings

    from approvals.web.edge.serving import Server

    application = _application(kind)
    logging.getLogger().setLevel(logging.WARNING)
    server = Server(
        application=application,
        endpoints=build_endpoint_description_strings(host="127.0.0.1", port=0),
        server_name="",
    )
    server.ready_callable = lambda: _say({"port": server.listening_addresses[0][1]})
    server.run()


def _application(kind: str) -> Any:
    from channels.routing import get_default_application

    from orchestration.benchmark import bare

    return get_default_application() if kind == PRODUCT else bare.application()


def _listen() -> None:
    for _ in sys.stdin.buffer:
        _say({"memory": memory(), "cpu": process_time()})
    os._exit(0)


def memory() -> int:
    """Bytes of this process that are in memory; where the system does not say, the most that there were."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def _say(words: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
