"""The inbox and the pages of requests: read, decide, answer, withdraw. All of it works without scripts.

Every address answers with a whole page, or, if a page's script asks for its `detail`, with the request alone.
"""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from approvals import queries
from approvals.database.clock import database_now
from approvals.domain.commands import Channel
from approvals.domain.lifecycle import Status
from approvals.exceptions import UnknownRequest
from approvals.web.pages import acts, json_tables
from approvals.web.pages.access import page, record_view, trail_once_seen, user_id, wants_detail
from approvals.web.pages.acts import NotRecorded
from approvals.web.pages.filters import Filters, number_of, sort_key
from approvals.web.pages.request_page import ActForm, RequestPage, form_for

MOST_IDS = 100


@page(UnknownRequest)
@require_safe
def inbox(request: HttpRequest) -> HttpResponse:
    return render(request, "approvals/inbox.html", _list_context(request))


@page(UnknownRequest)
@require_safe
def rows(request: HttpRequest) -> HttpResponse:
    """Show the list as it is now; with `id`, only those rows, also if they are closed by now.

    `open` is the request that the page shows beside the list, which keeps its row. `shown` is the number of
    rows on the page: those that arrived since it was loaded stay part of its list.
    """
    context = _list_context(request, _request_beside(request), number_of(request.GET, "shown"))
    ids = {queries.as_id(text) for text in request.GET.getlist("id")[:MOST_IDS]}
    if ids:
        shown = [row for row in context["rows"] if row.pk in ids]
        context["rows"] = shown + _closed_rows(request, ids - {row.pk for row in shown})
    return render(request, "approvals/_list.html", context)


@page(UnknownRequest)
@require_http_methods(["GET", "HEAD", "POST"])
def request_page(request: HttpRequest, request_id: UUID) -> HttpResponse:
    asked = queries.request_for(user_id(request), request_id)
    if request.method == "POST":
        return _finish(request, asked, acts.submit(request, asked, form_for(asked, request.POST)))
    return _show_request(request, asked, trail=trail_once_seen(request, asked))


@page(UnknownRequest)
@require_POST
def mark_viewed(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Record that a person saw a request which the page had opened by itself."""
    asked = queries.request_for(user_id(request), request_id)
    record_view(request, asked.pk, Channel.PAGE)
    return _back_to(request, asked)


@page(UnknownRequest)
@require_POST
def withdraw(request: HttpRequest, request_id: UUID) -> HttpResponse:
    asked = queries.request_for(user_id(request), request_id)
    return _finish(request, asked, acts.withdraw(request, asked))


@page(UnknownRequest)
@require_safe
def arguments(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Send the arguments as JSON: they can be too long for the page."""
    outcome = queries.outcome_of(queries.request_for(user_id(request), request_id))
    return HttpResponse(json_tables.pretty(outcome.arguments), content_type="application/json; charset=utf-8")


def _finish(request: HttpRequest, asked: Any, instead: NotRecorded | None) -> HttpResponse:
    """Redirect to the request once it is recorded; or show why it was refused, and what was typed."""
    if instead is None:
        return _back_to(request, asked)
    shown = _show_request(
        request, instead.asked, form=instead.form, notice=instead.notice, status=instead.status
    )
    return instead.finish(shown)


def _back_to(request: HttpRequest, asked: Any) -> HttpResponse:
    back = reverse("request", args=[asked.pk]) + Filters.from_query(request.GET).query
    return HttpResponseRedirect(back, status=HTTPStatus.SEE_OTHER)


def _show_request(
    request: HttpRequest,
    asked: Any,
    *,
    trail: list[queries.TimelineEntry] | None = None,
    form: ActForm | None = None,
    notice: str = "",
    status: HTTPStatus = HTTPStatus.OK,
) -> HttpResponse:
    """Show the request, alone or in the whole page with the list beside it."""
    shown = RequestPage(
        asked=asked,
        username=request.user.get_username(),
        rights=queries.rights_of(user_id(request), asked),
        trail=queries.history(asked) if trail is None else trail,
        form=form,
        notice=notice,
    )
    alone = wants_detail(request)
    around = _page_context(request) if alone else _list_context(request, asked)
    template = "approvals/_request.html" if alone else "approvals/inbox.html"
    return render(request, template, around | shown.context, status=status)


def _request_beside(request: HttpRequest) -> Any | None:
    """Return the request that is open beside the list; None if there is none that may be seen."""
    with suppress(UnknownRequest):
        return queries.request_for(user_id(request), request.GET.get("open", ""))
    return None


def _list_context(request: HttpRequest, opened: Any | None = None, at_least: int = 0) -> dict[str, Any]:
    """Return what the list shows: the first matches, and without filters also the open request."""
    filters = Filters.from_query(request.GET)
    found, more = filters.rows(user_id(request), at_least)
    if opened is not None and not filters.active and opened.pk not in {row.pk for row in found}:
        found = sorted([*found, opened], key=sort_key)
    last_closed = None if found else queries.last_closed_for(user_id(request))
    waiting = queries.count_waiting(user_id(request))
    shown = {"rows": found, "more": more, "waiting": waiting, "last_closed": last_closed}
    return _page_context(request) | shown


def _page_context(request: HttpRequest) -> dict[str, Any]:
    return {
        "now": database_now(),
        "filters": Filters.from_query(request.GET),
        "section": "inbox",
        "here": request.get_full_path(),
    }


def _closed_rows(request: HttpRequest, ids: set[UUID]) -> list[Any]:
    """List those of these requests that are closed and that this user may see."""
    rows = queries.requests_by_id(ids, light=True)
    closed = [row for row in rows if row.status != Status.PENDING]
    visible = queries.visible_ids([user_id(request)], closed)[user_id(request)]
    return [row for row in closed if row.pk in visible]
