"""The HTTP API of this installation, made of the routers of both apps."""

from __future__ import annotations

from approvals.web.api import requests
from approvals.web.api.error_handlers import Api
from orchestration.exceptions import OrchestrationError
from orchestration.web.api import runs

ROOT = "api/v1/"

DESCRIPTION = """\
Ask people, wait for their decisions, and decide. `docs/api.md` has examples for curl and Python.

Refusals are RFC 9457 problems (`application/problem+json`) with a stable `code`. Times are ISO 8601 in UTC;
durations are seconds. Every POST may be repeated if its response was lost: with the
same `key` for requests and runs, everything else as it is.
"""

api = Api(title="Sayso", version="1.0.0", description=DESCRIPTION, urls_namespace="api")
api.add_router("", requests.router, tags=["requests"])
api.add_router("", runs.router, tags=["runs"])
api.refuses(OrchestrationError)
