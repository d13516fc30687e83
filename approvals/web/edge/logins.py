"""Limits on password guesses, by name and by address, that lock nobody out.

Guessing the old password of the account that one is logged in to is limited by account, for sessions that
were left open.

Only failed attempts count. A browser in which somebody has logged in before has a cookie that says so, and an
allowance of its own: what strangers try on the same name meanwhile does not count there.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any, TypeAlias

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.crypto import salted_hmac

from approvals.exceptions import RateLimited
from approvals.web.edge import limits
from approvals.web.edge.actors import address_of_http
from approvals.web.edge.limits import Allowances
from approvals.web.edge.throttling import refusal_page

COOKIE = "sayso_known"
# Seconds: half a year.
LASTING = 182 * 86_400
# No account has a longer name or address.
LONGEST_NAME = 254

View: TypeAlias = Callable[..., HttpResponseBase]
Counts: TypeAlias = list[tuple[Allowances, Hashable]]


def limit_attempts(view: View, field: str = "username") -> View:
    """Limit a view whose form takes a name and a password, or an address: 429 after many failures."""

    @wraps(view)
    def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method != "POST":
            return view(request, *args, **kwargs)
        name = _comparable(request.POST.get(field, ""))
        counts = _counts(request, _known_cookie(request, name) or (field, name))
        response = _one_too_many(counts) or view(request, *args, **kwargs)
        if _logged_in(request, response, name):
            _give_back(counts)
            _remember(response, name)
        return response

    return limited


def limit_account_attempts(view: View) -> View:
    """Limit a view whose form takes the password of whoever is logged in: 429 after many failures."""

    @wraps(view)
    def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method != "POST" or not request.user.is_authenticated:
            return view(request, *args, **kwargs)
        counts = _counts(request, ("account", request.user.pk))
        response = _one_too_many(counts) or view(request, *args, **kwargs)
        if _is_redirect(response):
            _give_back(counts)
        return response

    return limited


def _counts(request: HttpRequest, caller: Hashable) -> Counts:
    """Return what counts the attempt: the address first, where attempts refused do not count for the name."""
    network = limits.network_of(address_of_http(request))
    return [*([(limits.of_login_addresses(), network)] if network else []), (limits.of_logins(), caller)]


def _one_too_many(counts: Counts) -> HttpResponseBase | None:
    """Count an attempt; return the refusal if it is one too many."""
    try:
        for allowances, caller in counts:
            allowances.charge(caller, "Too many attempts")
    except RateLimited as error:
        return refusal_page(error)
    return None


def _give_back(counts: Counts) -> None:
    for allowances, caller in counts:
        allowances.give_back(caller)


def _known_cookie(request: HttpRequest, name: str) -> str | None:
    """Return the cookie of a browser from which this name has logged in before."""
    said = request.get_signed_cookie(COOKIE, default="", salt=COOKIE, max_age=LASTING)
    return request.COOKIES[COOKIE] if said == _fingerprint(name) else None


def _remember(response: Any, name: str) -> None:
    response.set_signed_cookie(
        COOKIE,
        _fingerprint(name),
        salt=COOKIE,
        max_age=LASTING,
        path=settings.SESSION_COOKIE_PATH,
        httponly=True,
        secure=settings.SESSION_COOKIE_SECURE,
        samesite="Lax",
    )


def _logged_in(request: HttpRequest, response: HttpResponseBase, name: str) -> bool:
    """Whether the attempt has succeeded; somebody else may have been logged in before it, and still be."""
    if not _is_redirect(response) or not request.user.is_authenticated:
        return False
    return _comparable(request.user.get_username()) == name


def _is_redirect(response: HttpResponseBase) -> bool:
    return 300 <= response.status_code < 400


def _comparable(name: str) -> str:
    return unicodedata.normalize("NFKC", name.strip()[:LONGEST_NAME]).casefold()


def _fingerprint(name: str) -> str:
    return salted_hmac(COOKIE, name, algorithm="sha256").hexdigest()
