"""What all pages have in common: who may open them, rate limits, the 404 for what may not be seen, views."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeAlias
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from approvals import deciding, queries
from approvals.domain.commands import Actor, Channel
from approvals.domain.lifecycle import Status
from approvals.exceptions import Busy, RateLimited, Unavailable
from approvals.web.edge.actors import actor_of_http
from approvals.web.edge.fair_shares import meter
from approvals.web.edge.throttling import refusal_page, spend

logger = logging.getLogger(__name__)

P = ParamSpec("P")

# Headers by which browsers, the older ones as well, say why they fetch a page.
SAY_WHY = ("Sec-Purpose", "Purpose", "X-Moz")

# In the address of a page to which somebody was led instead of sending something.
UNSENT = "unsent"
NOT_RECORDED = "What you meant to send was not recorded. Send it again if it is still needed."

PageView: TypeAlias = Callable[Concatenate[HttpRequest, P], HttpResponse]


def page(*unknown: type[Exception]) -> Callable[[PageView[P]], PageView[P]]:
    """Decorate a view for logged-in people: it is rate-limited, and never answered from a cache.

    `unknown` is what the view raises for what does not exist or may not be seen: both become a 404.
    """

    def decorate(view: PageView[P]) -> PageView[P]:
        @wraps(view)
        def limited_view(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            try:
                spend(request, user_id(request))
                with meter(request):
                    return view(request, *args, **kwargs)
            except RateLimited as error:
                return refusal_page(error)
            except unknown as error:
                raise Http404(str(error)) from None

        return never_cache(login_required(limited_view))

    return decorate


def post_only(*, back_to: str, by: str = "") -> Callable[[PageView[P]], PageView[P]]:
    """Decorate a view that takes what a form on the page `back_to` sends.

    Whoever opens its address (GET), after logging in on the way or once more, is led to that page, which says
    that nothing was recorded. `by` names the argument that the addresses of both have.
    """

    def decorate(view: PageView[P]) -> PageView[P]:
        @wraps(view)
        def post_only_view(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if request.method == "POST":
                return view(request, *args, **kwargs)
            query = request.GET.copy()
            query[UNSENT] = ""
            page = reverse(back_to, args=[kwargs[by]] if by else [])
            return HttpResponseRedirect(f"{page}?{query.urlencode()}")

        return require_http_methods(["GET", "HEAD", "POST"])(post_only_view)

    return decorate


def unsent_notice(request: HttpRequest) -> str:
    """Return what the page says to whom `post_only` has led there; empty for all others."""
    return NOT_RECORDED if UNSENT in request.GET else ""


def user_id(request: HttpRequest) -> int:
    assert request.user.pk is not None  # noqa: S101 - pages are for people who are logged in
    return request.user.pk


def record_view(actor: Actor, request_id: UUID) -> None:
    """Record the view before the page is shown. If that fails, log it and show the page anyway."""
    try:
        deciding.record_view(actor, request_id)
    except (Busy, Unavailable) as error:
        logger.warning("view not recorded request_id=%s code=%s", request_id, error.code)


def record_views(request: HttpRequest, request_ids: Collection[UUID]) -> None:
    """Record which of these requests, all on this page, a person sees for the first time."""
    if not is_opened_by_person(request):
        return
    new = set(request_ids) - queries.viewed_among(user_id(request), request_ids)
    try:
        deciding.record_views(actor_of_http(request, Channel.PAGE), sorted(new))
    except (Busy, Unavailable) as error:
        logger.warning("views not recorded requests=%d code=%s", len(new), error.code)


def trail_once_seen(request: HttpRequest, asked: Any) -> list[queries.TimelineEntry]:
    """Return the request's trail. Where a person opens the page, it says that this person has seen it."""
    trail = queries.history(asked)
    if not is_opened_by_person(request) or (_has_seen(request, trail) and _stuck_is_on_record(asked, trail)):
        return trail
    record_view(actor_of_http(request, Channel.PAGE), asked.pk)
    return queries.history(asked)


def is_opened_by_person(request: HttpRequest) -> bool:
    """Tell whether a person opens this page, rather than a script by itself or a browser that prefetches."""
    by_script = "Sayso-Unasked" in request.headers
    prefetched = any("prefetch" in request.headers.get(name, "") for name in SAY_WHY)
    return request.method == "GET" and not by_script and not prefetched


def _has_seen(request: HttpRequest, trail: list[queries.TimelineEntry]) -> bool:
    username = request.user.get_username()
    return any(entry.event == "viewed" and entry.actor == username for entry in trail)


def _stuck_is_on_record(asked: Any, trail: list[queries.TimelineEntry]) -> bool:
    """Tell whether the trail says so, if too few people may decide the request."""
    events = [entry.event for entry in trail if entry.event in {"stuck", "reassigned", "escalated"}]
    return asked.status != Status.PENDING or events[-1:] == ["stuck"] or not queries.standing(asked).stuck


def wants_detail(request: HttpRequest) -> bool:
    """Tell whether a page's script asks for the main part alone."""
    return request.headers.get("HX-Target") == "detail"
