"""What every page of ours has, whatever middleware a project uses: a policy, marks, no transaction around it.

The Content-Security-Policy lets pages use files of this site only. Hidden characters in texts of other people
are marked. Django's ATOMIC_REQUESTS does not count: a decision is on record once its own transaction commits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import urlsplit

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.db import connections, transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver
from django.utils.deprecation import MiddlewareMixin

from approvals.conf import approval_settings
from approvals.web.edge.hidden_characters import mark_response

POLICY = "Content-Security-Policy"

P = TypeVar("P", bound=Sequence[URLPattern | URLResolver])


class OwnPages(MiddlewareMixin):
    """Middleware for a site that is all ours. The innermost: others measure what is sent."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        return finish(response)


def own(patterns: P) -> P:
    """Make the views of URL patterns pages of ours."""
    for each in patterns:
        if isinstance(each, URLPattern):
            each.callback = own_page(each.callback)
    return patterns


def own_page(view: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a view, synchronous or not, whose responses are pages of ours."""
    if iscoroutinefunction(view):

        @wraps(view)
        async def answer_later(*args: Any, **kwargs: Any) -> HttpResponseBase:
            return finish(await view(*args, **kwargs))

        return outside_transactions(markcoroutinefunction(answer_later))

    @wraps(view)
    def answer(*args: Any, **kwargs: Any) -> HttpResponseBase:
        return finish(view(*args, **kwargs))

    return outside_transactions(answer)


def outside_transactions(view: Callable[..., Any]) -> Callable[..., Any]:
    """Except a view from ATOMIC_REQUESTS, on every database."""
    for alias in connections:
        transaction.non_atomic_requests(using=alias)(view)
    return view


def finish(response: Any) -> HttpResponseBase:
    """Mark hidden characters and set the policy, once the response is rendered. Idempotent."""
    if hasattr(response, "add_post_render_callback") and not response.is_rendered:
        response.add_post_render_callback(finish)
        return response  # type: ignore[no-any-return]  # a TemplateResponse
    mark_response(response)
    if policy := content_security_policy():
        response.headers.setdefault(POLICY, policy)
    return response  # type: ignore[no-any-return]  # a response like any other


def content_security_policy() -> str:
    """Return the policy of our pages: "" for none."""
    told = approval_settings().content_security_policy
    return _strict_policy() if told is None else told


def _strict_policy() -> str:
    static = urlsplit(settings.STATIC_URL or "")
    files = f"'self' {static.scheme or 'https'}://{static.netloc}" if static.netloc else "'self'"
    return (
        f"default-src 'none'; script-src {files}; style-src {files}; img-src {files} data:; font-src {files};"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
