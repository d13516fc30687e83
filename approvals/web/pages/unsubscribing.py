"""The page that the link of a message leads to: whoever holds the link, logged in or not, ends messages.

Opening it changes nothing: programs that look for dangerous links open them all. Mail programs send the POST
by themselves, without cookies, when their reader unsubscribes; so it is never redirected.
"""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from approvals import queries
from approvals.delivery.unsubscribing import destination_of
from approvals.web.edge.preferences import unsubscribe


@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe_page(request: HttpRequest, token: str) -> HttpResponse:
    """Ask whether to end the messages to a destination, or end them. It names neither person nor address."""
    destination_id = destination_of(token)
    if destination_id is None or not queries.is_destination(destination_id):
        raise Http404("No such link.")
    if request.method == "POST":
        unsubscribe(destination_id)
    response = render(request, "approvals/unsubscribe.html", {"done": request.method == "POST"})
    response["Referrer-Policy"] = "no-referrer"
    response["X-Robots-Tag"] = "noindex"
    return response
