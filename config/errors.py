"""What Django answers where something was raised that nobody has handled."""

from __future__ import annotations

import sys

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from approvals.database.threads import LOST
from approvals.exceptions import Unavailable
from approvals.web.api.edge import malformed
from approvals.web.edge.throttling import refusal_for
from config.api import ROOT
from config.observing.write_check import describe_error

_API = f"/{ROOT}"


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """What Django refuses before any address is looked up: a problem under the API's, a page elsewhere."""
    if request.path_info.startswith(_API):
        return malformed(request, exception)
    return defaults.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """503 where the database is away or takes nothing new, which is over one day; else 500."""
    error = sys.exc_info()[1]
    if isinstance(error, LOST):
        fault = describe_error(error, otherwise="does not answer")
        away = Unavailable(f"The database {fault} just now. Try again in a moment.")
        return refusal_for(request.path_info, away, _API)
    return defaults.server_error(request)
