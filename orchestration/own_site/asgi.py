"""The ASGI application of the benchmark's own servers, where Sayso is installed in a project."""

from __future__ import annotations

from django.core.asgi import get_asgi_application

import orchestration.asgi

application = orchestration.asgi.application(get_asgi_application())
