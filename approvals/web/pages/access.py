"""What all pages have in common: who may open them, rate limits, the 404 for what may not be seen, views."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeAlias
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache

from approvals import deciding
from approvals.domain.commands import Channel
from approvals.exceptions import Busy, Unavailable
from approvals.web.edge.actors import actor_of_http
from approvals.web.edge.fair_shares import meter
from approvals.web.edge.limits import RateLimited
from approvals.web.edge.throttling import refusal_page, spend

logger = logging.getLogger(__name__)

P = ParamSpec("P")

PageView: TypeAlias = Callable[Concatenate[HttpRequest, P], HttpResponse]


def page(unknown: type[Exception]) -> Callable[[PageView[P]], PageView[P]]:
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


def user_id(request: HttpRequest) -> int:
    assert request.user.pk is not None  # noqa: S101 - pages are for people who are logged in
    return request.user.pk


def record_view(request: HttpRequest, request_id: UUID, channel: Channel) -> None:
    """Record the view before the page is shown. If that fails, log it and show the page anyway."""
    try:
        deciding.record_view(actor_of_http(request, channel), request_id)
    except (Busy, Unavailable) as error:
        logger.warning("view not recorded request_id=%s code=%s", request_id, error.code)


def wants_detail(request: HttpRequest) -> bool:
    """Tell whether a page's script asks for the main part alone."""
    return request.headers.get("HX-Target") == "detail"
