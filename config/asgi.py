"""The ASGI application: pages, API, WebSockets, and the runtime that executes runs in the server's process.

Under daphne and runserver, which have no lifespan protocol, the runtime starts with Twisted's reactor; other
servers start it by lifespan. Nothing depends on a clean shutdown.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import sys
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
pages = get_asgi_application()

# Models can only be imported from here on.
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import WebsocketDenier  # noqa: E402
from channels.sessions import SessionMiddlewareStack  # noqa: E402
from django.urls import re_path  # noqa: E402

from approvals.process import collector  # noqa: E402
from approvals.web.edge.asgi import Receive, Scope, Send  # noqa: E402
from approvals.web.edge.fair_shares import TakingTurns  # noqa: E402
from approvals.web.edge.long_polling import FewPasses, HoldingAnswers  # noqa: E402
from approvals.web.edge.throttling import FewAtOnce, Throttled  # noqa: E402
from approvals.web.routing import program_urlpatterns as program_sockets  # noqa: E402
from approvals.web.routing import websocket_urlpatterns as inbox_sockets  # noqa: E402
from config.api import ROOT as API_ROOT  # noqa: E402
from config.disconnects import ignore_disconnects  # noqa: E402
from config.proxies import Forwarded  # noqa: E402
from config.request_ids import RequestIds  # noqa: E402
from config.socket_origins import OwnPagesOnly  # noqa: E402
from orchestration.conf import orchestration_settings  # noqa: E402
from orchestration.runtime import start_runtime, stop_runtime  # noqa: E402
from orchestration.web.routing import websocket_urlpatterns as run_sockets  # noqa: E402

log = logging.getLogger(__name__)

# Seconds that a stopping server waits for the runtime, in addition to SAYSO_DRAIN.
STOPPING = 8.0


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Start and stop the runtime with servers that have the lifespan protocol."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            collector.tune()
            await start_runtime()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await _stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


def _start_with_reactor() -> None:
    """Start and stop the runtime with the reactor of daphne and runserver, which runs while they serve."""
    reactor: Any = sys.modules.get("twisted.internet.reactor")
    if reactor is None or not hasattr(reactor, "_asyncioEventloop"):
        return
    # One turn after "running", when asyncio's loop runs as well.
    reactor.callWhenRunning(reactor.callLater, 0, _start)
    reactor.addSystemEventTrigger("before", "shutdown", _stop_with_reactor)


def _start() -> None:
    task = asyncio.get_running_loop().create_task(start_runtime(), context=contextvars.Context())
    _starting.add(task)
    task.add_done_callback(_log_failed_start)


def _log_failed_start(task: asyncio.Task[Any]) -> None:
    _starting.discard(task)
    if not task.cancelled() and (error := task.exception()):
        log.critical("runtime did not start", exc_info=error)


def _stop_with_reactor() -> Any:
    from twisted.internet.defer import Deferred

    return Deferred.fromFuture(asyncio.ensure_future(_stop()))


async def _stop() -> None:
    patience = orchestration_settings().drain + STOPPING
    try:
        async with asyncio.timeout(patience):
            await stop_runtime()
    except TimeoutError:
        log.warning("runtime did not stop within %s s", patience)


_starting: set[asyncio.Task[Any]] = set()
_API = f"/{API_ROOT}"
# Probes and metrics must not queue with the requests that wait for the database.
_few = FewAtOnce(ignore_disconnects(pages), api=_API, spared=["/healthz/live", "/healthz/ready", "/metrics"])
_django = TakingTurns(FewPasses(_few), api=_API)
_nowhere = re_path("", WebsocketDenier.as_asgi())
_of_pages = SessionMiddlewareStack(URLRouter([*inbox_sockets, *run_sockets, _nowhere]))
_page_sockets: Any = OwnPagesOnly(_of_pages, programs=False)
_sockets = OwnPagesOnly(URLRouter([*program_sockets, re_path("", _page_sockets)]), programs=True)
_start_with_reactor()

_protocols = ProtocolTypeRouter(
    {
        "http": Throttled(HoldingAnswers(_django, ending="/outcome"), api=_API),
        "websocket": Throttled(_sockets, api=_API),
        "lifespan": lifespan,
    }
)
application = Forwarded(RequestIds(_protocols))
