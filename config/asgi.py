"""The ASGI application of this installation."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from django.core.asgi import get_asgi_application

import orchestration.asgi
from approvals.process import collector

if TYPE_CHECKING:
    from approvals.web.edge.asgi import Receive, Scope, Send

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
_site = orchestration.asgi.application(get_asgi_application())


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve the site. A server that tells when it starts serves nothing else: its collector is tuned."""
    if scope["type"] == "lifespan":
        collector.tune()
    await _site(scope, receive, send)
