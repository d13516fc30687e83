"""Who calls: a token in `Authorization: Bearer`, or a session, whose unsafe methods need a CSRF token.

Both are looked up anew for each call. A token that does not hold is refused, whatever session comes with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from ninja.security.base import AuthBase
from ninja.utils import check_csrf

from approvals.domain.commands import Actor, Channel
from approvals.exceptions import InvalidRequest, NotPermitted
from approvals.web.edge import tokens
from approvals.web.edge.actors import actor_of_http
from approvals.web.edge.credentials import bearer_secret
from approvals.web.edge.problems import Unauthenticated
from approvals.web.edge.throttling import spend
from approvals.web.edge.tokens import Scope

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")

# Django would look for a CSRF token in them, and they are no JSON.
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """As whom a call acts. `token_id` None: a person with a session, who may use all scopes."""

    user_id: int
    token_id: UUID | None
    scopes: frozenset[Scope]


class BearerToken(AuthBase):
    openapi_type = "http"
    openapi_scheme = "bearer"
    openapi_description = "A token made by `manage.py create_token`; it acts as its user, within its scopes."

    def __call__(self, request: HttpRequest) -> Caller | None:
        secret = bearer_secret(request.headers.get("Authorization", ""))
        if secret is None:
            return None
        bearer = tokens.bearer(secret)
        if bearer is None:
            raise Unauthenticated("This token is unknown, or it has expired or been revoked.")
        spend(request, bearer.user_id)
        return Caller(user_id=bearer.user_id, token_id=bearer.token_id, scopes=bearer.scopes)


class SessionCookie(AuthBase):
    """Takes a call of a person who is logged in; what it changes needs the CSRF token."""

    openapi_type = "apiKey"
    openapi_in = "cookie"
    openapi_name = settings.SESSION_COOKIE_NAME
    openapi_description = "The session of a person who is logged in. Unsafe methods need a CSRF token, too."

    def __call__(self, request: HttpRequest) -> Caller | None:
        user = request.user
        if not user.is_authenticated:
            return None
        spend(request, user.pk)
        if request.method not in SAFE_METHODS:
            _check_csrf(request)
        return Caller(user_id=user.pk, token_id=None, scopes=frozenset(Scope))


AUTHENTICATION = (BearerToken(), SessionCookie())


def caller_of(request: HttpRequest, *scopes: Scope) -> Caller:
    """Who calls. NotPermitted where the token has none of these scopes."""
    caller: Caller = getattr(request, "auth")  # noqa: B009 - ninja sets it
    if not caller.scopes.intersection(scopes):
        wanted = " or ".join(f"`{scope}`" for scope in scopes)
        raise NotPermitted(f"This token lacks the scope that this needs: {wanted}.")
    return caller


def actor_of(request: HttpRequest) -> Actor:
    caller: Caller = getattr(request, "auth")  # noqa: B009 - ninja sets it
    return actor_of_http(request, Channel.API, caller.user_id, caller.token_id)


def _check_csrf(request: Any) -> None:
    if request.content_type in FORMS:
        raise InvalidRequest("A body is JSON: send it with `Content-Type: application/json`.", field="")
    if check_csrf(request) is not None:
        raise NotPermitted("The CSRF token is missing or wrong: send the cookie's in `X-CSRFToken`.")
