"""The handlers of Django's own 400 and 500 responses."""

from __future__ import annotations

import sys

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from approvals.database.threads import LOST
from approvals.exceptions import Unavailable
from approvals.web.api.error_handlers import answer_malformed
from approvals.web.edge import mount
from approvals.web.edge.throttling import refusal_for
from orchestration.observing.write_check import describe_error


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what Django refuses before it resolves the URL: with a problem in the API, else with a page."""
    if request.path_info.startswith(mount.api_root()):
        return answer_malformed(request, exception)
    return defaults.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 503 if the database is unavailable or takes no writes, which may pass; else 500."""
    error = sys.exc_info()[1]
    if isinstance(error, LOST):
        fault = describe_error(error, otherwise="does not answer")
        away = Unavailable(f"The database {fault} at the moment. Try again later.")
        return refusal_for(request.path_info, away, mount.api_root())
    return defaults.server_error(request)
