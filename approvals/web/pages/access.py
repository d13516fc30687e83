"""What every page of ours has in common: who may open it, and what it says of what is not there."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeAlias

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache

from approvals.web.edge.limits import RateLimited
from approvals.web.edge.shares import meter
from approvals.web.edge.throttling import refusal_page, spend

P = ParamSpec("P")

PageView: TypeAlias = Callable[Concatenate[HttpRequest, P], HttpResponse]


def page(unknown: type[Exception]) -> Callable[[PageView[P]], PageView[P]]:
    """A view for people who are logged in and don't ask too much, never answered from a cache.

    `unknown` is what the view raises for what does not exist or may not be seen: both are the same 404.
    """

    def made_page(view: PageView[P]) -> PageView[P]:
        @wraps(view)
        def answered(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            try:
                spend(request, user_id(request))
                with meter(request):
                    return view(request, *args, **kwargs)
            except RateLimited as error:
                return refusal_page(error)
            except unknown as error:
                raise Http404(str(error)) from None

        return never_cache(login_required(answered))

    return made_page


def user_id(request: HttpRequest) -> int:
    """The logged-in user's id."""
    assert request.user.pk is not None  # noqa: S101 - pages are for people who are logged in
    return request.user.pk


def wants_detail(request: HttpRequest) -> bool:
    """A page of ours asks for its main part alone."""
    return request.headers.get("HX-Target") == "detail"
