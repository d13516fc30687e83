"""The ASGI application of a project that uses `approvals` alone; see orchestration.asgi for both apps."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from approvals.web.edge.asgi import Application

# Seconds that a stopping server waits for deliveries under way.
STOPPING = 8.0


def application(django_application: Application) -> Application:
    """Return the project's application with Sayso's around it.

    It has the sockets of the inbox, held answers, throttling and origin checks; it keeps deadlines, and
    delivers callbacks and mail. Call it after `get_asgi_application()`.
    """
    from approvals.delivery.service import start, stop
    from approvals.web.edge.lifespan import Lifespan
    from approvals.web.routing import program_urlpatterns, websocket_urlpatterns
    from approvals.web.wrapping import wrap

    return wrap(
        django_application,
        Lifespan(start, stop, patience=lambda: STOPPING),
        page_sockets=websocket_urlpatterns,
        program_sockets=program_urlpatterns,
    )
