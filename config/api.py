"""The HTTP API of this installation, composed of the apps' routers."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from approvals.web.api import requests
from approvals.web.api.edge import Api, malformed
from orchestration.exceptions import OrchestrationError
from orchestration.web.api import runs

ROOT = "api/v1/"

DESCRIPTION = """\
Ask people, wait for them, decide: over HTTP. `docs/api.md` has examples for curl and Python.

Refusals are RFC 9457 problems (`application/problem+json`) with a stable `code`. Times are ISO 8601 in UTC;
durations are seconds. Every POST may be repeated after a lost answer: questions and runs by
their `key`, everything else by itself.
"""

api = Api(title="Sayso", version="1.0.0", description=DESCRIPTION, urls_namespace="api")
api.add_router("", requests.router, tags=["requests"])
api.add_router("", runs.router, tags=["runs"])
api.refuses(OrchestrationError)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """What Django refuses before any address is looked up: a problem under the API's, a page elsewhere."""
    if request.path_info.startswith(f"/{ROOT}"):
        return malformed(request, exception)
    return defaults.bad_request(request, exception)
