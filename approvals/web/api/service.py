"""The HTTP API that this installation serves, with the routers of all its apps."""

from __future__ import annotations

from django.utils.module_loading import import_string

from approvals.web.api import delegations, requests, several
from approvals.web.api.error_handlers import Api
from approvals.web.api.routers import added_routers

DESCRIPTION = """\
Ask people, wait for their decisions, and decide. `docs/api.md` has examples for curl and Python.

Refusals are RFC 9457 problems (`application/problem+json`) with a stable `code`. Times are ISO 8601 in UTC;
durations are seconds. Every POST may be repeated if its response was lost: with the
same `key` for requests and runs, everything else as it is.
"""

api = Api(title="Sayso", version="1.0.0", description=DESCRIPTION, urls_namespace="api")
# First: "withdraw" is no id of a request.
api.add_router("", several.router, tags=["requests"])
api.add_router("", requests.router, tags=["requests"])
api.add_router("", delegations.router, tags=["delegations"])
for _added in added_routers():
    api.add_router("", import_string(_added.router), tags=[_added.tag])
    api.refuses(import_string(_added.refuses))
