"""The installation's addresses, and one at which a process under test says how it is."""

from __future__ import annotations

from datetime import UTC, datetime

from django.http import HttpRequest, JsonResponse
from django.urls import include, path

from approvals.waiting.waiting_room import waiting_room
from config import urls

handler400 = urls.handler400


def state(request: HttpRequest) -> JsonResponse:
    """How many waits this process has, and what it takes for the time."""
    return JsonResponse({"waits": len(waiting_room()), "time": datetime.now(UTC).timestamp()})


urlpatterns = [path("under-test/", state), path("", include(urls))]
