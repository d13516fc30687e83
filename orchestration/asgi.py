"""The ASGI application of a project that uses both apps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from approvals.asgi import STOPPING
from orchestration.conf import orchestration_settings

if TYPE_CHECKING:
    from approvals.web.edge.asgi import Application

# Below the path of our URLs. Probes and metrics must not queue with the requests that wait for the database.
SPARED = ("healthz/live", "healthz/ready", "metrics")


def application(django_application: Application) -> Application:
    """Return the project's application with Sayso's around it, and the runtime that executes runs.

    It has the sockets of both apps, held answers, throttling and origin checks. What is not below the path of
    our URLs passes as it came. Call it after `get_asgi_application()`.
    """
    from approvals.web.edge.lifespan import Lifespan
    from approvals.web.routing import program_urlpatterns, websocket_urlpatterns
    from approvals.web.wrapping import wrap
    from orchestration.runtime import start_runtime, stop_runtime
    from orchestration.web.routing import websocket_urlpatterns as run_sockets

    return wrap(
        django_application,
        Lifespan(start_runtime, stop_runtime, patience=_patience),
        page_sockets=[*websocket_urlpatterns, *run_sockets],
        program_sockets=program_urlpatterns,
        spared=SPARED,
    )


def _patience() -> float:
    return orchestration_settings().drain + STOPPING
