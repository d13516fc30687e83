"""The page that a personal link opens: it shows a request, and decides it for the person it was sent to.

Opening it decides nothing and leaves nothing on the trail: mail scanners fetch links. How often it was
fetched is counted on its notification, for those who run the installation. Its token is the only
authority: no session is made or asked for a right, and no CSRF token is needed. All else is as on the
request's own page.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables
from django.views.defaults import page_not_found

from approvals import deciding, queries
from approvals.delivery import personal_links
from approvals.delivery.personal_links import PersonalLink
from approvals.domain.commands import Channel
from approvals.exceptions import Busy, LinkDead, LinkUsed, RateLimited, Unavailable, UnknownRequest
from approvals.web.edge.actors import actor_of_http
from approvals.web.edge.fair_shares import meter
from approvals.web.edge.problems import STATUSES
from approvals.web.edge.throttling import refusal_page, spend
from approvals.web.pages import acts
from approvals.web.pages.acts import NotRecorded
from approvals.web.pages.request_page import RequestPage, form_for

logger = logging.getLogger(__name__)

METHODS = ("GET", "HEAD", "POST")
# The writer has judged otherwise than the link said a moment before: somebody was first, or rights changed.
OVERTAKEN = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT})
# Whoever is logged in, the page has neither their menu nor a CSRF token, which would set a cookie.
NO_SESSION = {"user": AnonymousUser()}


@csrf_exempt
@sensitive_variables("token")
def link(request: HttpRequest, token: str) -> HttpResponse:
    """Show the request of this link, or decide it (POST)."""
    try:
        response = _answer(request, token)
    except Http404 as error:
        response = page_not_found(request, error)
    response["Cache-Control"] = "no-store"
    response["Referrer-Policy"] = "no-referrer"
    response["X-Robots-Tag"] = "noindex"
    # Django logs the path of what it takes for an error: this one has the token, if with a sign too many.
    response._has_been_logged = True  # type: ignore[attr-defined]  # as django.utils.log does
    return response


def _answer(request: HttpRequest, token: str) -> HttpResponse:
    if request.method not in METHODS:
        return HttpResponseNotAllowed(METHODS)
    found = _find(token)
    try:
        spend(request, found.user.pk)
        with meter(request):
            if request.method != "POST":
                found.count_fetch()
            if request.user.is_authenticated and request.user.pk != found.user.pk:
                return _refuse_another(request, found)
            found.check()
            return _decide(request, token, found) if request.method == "POST" else _show(request, found)
    except RateLimited as error:
        return refusal_page(error)
    except (LinkDead, LinkUsed) as error:
        context = {"detail": error.detail, "code": error.code, "asked": found.notice.request}
        return _render(request, "approvals/link_dead.html", context, STATUSES[error.code])


def _find(token: str) -> PersonalLink:
    if found := personal_links.find(token):
        return found
    raise Http404("There is no such link.")


def _decide(request: HttpRequest, token: str, found: PersonalLink) -> HttpResponse:
    asked = found.notice.request
    actor = actor_of_http(request, Channel.LINK, found.user.pk, link_id=found.notice.notification.pk)
    with suppress(UnknownRequest):
        instead = acts.submit(actor, asked, form_for(asked, request.POST))
        if instead is None:
            return _show(request, _find(token))
        if instead.status not in OVERTAKEN:
            return instead.finish(_show(request, found, instead))
    _find(token).check()
    raise Http404("There is no such link.")


def _show(request: HttpRequest, found: PersonalLink, instead: NotRecorded | None = None) -> HttpResponse:
    """Show the request: with its form, with what was sent and why it was not done, or as it was decided."""
    asked = found.notice.request
    shown = RequestPage(
        asked=asked,
        username=found.user.get_username(),
        # What else they may do has its place on the request's own page.
        rights=replace(queries.rights_of(found.user.pk, asked), withdraw=False, reassign=False),
        trail=(),
        form=instead.form if instead else None,
        notice=instead.notice if instead else "",
    )
    context = {
        **shown.context,
        "now": found.now,
        "here": request.path,
        "person": found.user,
        "expires_at": found.expires_at,
    }
    return _render(request, "approvals/link.html", context, instead.status if instead else HTTPStatus.OK)


def _refuse_another(request: HttpRequest, found: PersonalLink) -> HttpResponse:
    """Say for whom the link is; that somebody else tried to decide by it is on the trail."""
    tried = request.method == "POST"
    if tried:
        _record_misuse(request, found)
    context = {"person": found.user, "other": request.user.get_username(), "tried": tried}
    context |= {"asked": found.notice.request}
    return _render(request, "approvals/link_of_another.html", context, HTTPStatus.FORBIDDEN)


def _record_misuse(request: HttpRequest, found: PersonalLink) -> None:
    """Record it before the page is shown. If that fails, log it: nothing is decided either way."""
    asked = found.notice.request
    try:
        deciding.record_misuse(actor_of_http(request, Channel.LINK), asked.pk, found.user.pk)
    except (Busy, Unavailable) as error:
        logger.warning("misuse of a link not recorded request_id=%s code=%s", asked.pk, error.code)


def _render(request: HttpRequest, template: str, context: dict[str, Any], status: HTTPStatus) -> HttpResponse:
    page = {"request_page": reverse("request", args=[context["asked"].pk])}
    return render(request, template, {**context, **page, **NO_SESSION}, status=status)
