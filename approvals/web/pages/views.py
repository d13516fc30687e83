"""The inbox and the pages of requests: read, decide, answer, hand on, comment, withdraw. Scripts are extra.

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
from approvals.exceptions import UnknownRequest
from approvals.web.edge.actors import actor_of_http
from approvals.web.pages import acts, json_tables
from approvals.web.pages.access import (
    page,
    post_only,
    record_view,
    trail_once_seen,
    unsent_notice,
    user_id,
    wants_detail,
)
from approvals.web.pages.acts import NotRecorded
from approvals.web.pages.filters import Filters, number_of
from approvals.web.pages.inbox_page import InboxPage
from approvals.web.pages.next_request import Done, Successors
from approvals.web.pages.request_page import LOOKED_AT, AnyForm, RequestPage, form_for

MOST_IDS = 100
# Names the request that was decided before, in the address of the page that opens then.
DONE = "done"


@page(UnknownRequest)
@require_safe
def inbox(request: HttpRequest) -> HttpResponse:
    """Show the list; after the last decision, what was done and that nothing else is to be decided."""
    if wants_detail(request):
        waiting = {"waiting": queries.Inbox(user_id(request)).count()}
        shown = render(request, "approvals/_nothing_left.html", _page_context(request) | waiting)
        return _name_address(request, shown)
    return render(request, "approvals/inbox.html", _list_context(request))


@page(UnknownRequest)
@require_safe
def rows(request: HttpRequest) -> HttpResponse:
    """Show the list as it is now; with `id`, only those rows, also if they are closed by now.

    `open` is the request that the page shows beside the list, which keeps its row. `shown` is the number of
    rows on the page: those that arrived since it was loaded stay part of its list.
    """
    ids = {queries.as_id(text) for text in request.GET.getlist("id")[:MOST_IDS]}
    context = _list_context(
        request, _request_beside(request), at_least=number_of(request.GET, "shown"), only=ids
    )
    return render(request, "approvals/_list.html", context)


@page(UnknownRequest)
@require_http_methods(["GET", "HEAD", "POST"])
def request_page(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Show a request, or decide it; then the next one opens, unless this person has chosen otherwise."""
    asked = queries.request_for(user_id(request), request_id)
    if request.method == "POST":
        successors = _successors(request, asked)
        actor = actor_of_http(request, Channel.PAGE)
        instead = acts.submit(actor, asked, form_for(asked, request.POST))
        return _refuse(request, instead) if instead else _go_on(request, asked, successors)
    trail = trail_once_seen(request, asked)
    return _show_request(request, asked, trail=trail, notice=unsent_notice(request))


@page(UnknownRequest)
@require_POST
def mark_viewed(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Record that a person saw a request which the page had opened by itself."""
    asked = queries.request_for(user_id(request), request_id)
    record_view(actor_of_http(request, Channel.PAGE), asked.pk)
    return _back_to(request, asked)


@page(UnknownRequest)
@post_only(back_to="request", by="request_id")
def withdraw(request: HttpRequest, request_id: UUID) -> HttpResponse:
    asked = queries.request_for(user_id(request), request_id)
    instead = acts.withdraw(request, asked)
    return _refuse(request, instead) if instead else _back_to(request, asked)


@page(UnknownRequest)
@post_only(back_to="request", by="request_id")
def hand_on(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Let others decide instead; whoever may not see the request any more goes on with the inbox."""
    asked = queries.request_for(user_id(request), request_id)
    if instead := acts.hand_on(request, asked):
        return _refuse(request, instead)
    if queries.rights_of(user_id(request), asked).see:
        return _back_to(request, asked)
    address = reverse("inbox") + Filters.from_query(request.GET).query
    return HttpResponseRedirect(address, status=HTTPStatus.SEE_OTHER)


@page(UnknownRequest)
@post_only(back_to="request", by="request_id")
def comment(request: HttpRequest, request_id: UUID) -> HttpResponse:
    asked = queries.request_for(user_id(request), request_id)
    instead = acts.comment(request, asked)
    return _refuse(request, instead) if instead else _back_to(request, asked)


@page(UnknownRequest)
@require_safe
def arguments(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Send the arguments as JSON: they can be too long for the page."""
    outcome = queries.outcome_of(queries.request_for(user_id(request), request_id))
    return HttpResponse(json_tables.pretty(outcome.arguments), content_type="application/json; charset=utf-8")


def _refuse(request: HttpRequest, instead: NotRecorded) -> HttpResponse:
    """Show why it was not recorded, and what was typed."""
    shown = _show_request(
        request, instead.asked, form=instead.form, notice=instead.notice, status=instead.status
    )
    # The script of the page must not take the address of the form for that of the page.
    shown["HX-Push-Url"] = "false"
    return instead.finish(shown)


def _successors(request: HttpRequest, asked: Any) -> Successors | None:
    """Return what may be opened after a decision; None if this person stays on the decided request."""
    reader = user_id(request)
    if not queries.preference_of(reader).opens_next:
        return None
    return Successors.of(asked, reader, Filters.from_query(request.GET))


def _go_on(request: HttpRequest, asked: Any, successors: Successors | None) -> HttpResponse:
    """Redirect to the next request, with what was done; to the inbox, if there is none."""
    following = asked.pk if successors is None else successors.first()
    address = reverse("request", args=[following]) if following else reverse("inbox")
    query = Filters.from_query(request.GET).query
    done = f"{query}{'&' if query else '?'}{DONE}={asked.pk}"
    return HttpResponseRedirect(address + done, status=HTTPStatus.SEE_OTHER)


def _back_to(request: HttpRequest, asked: Any) -> HttpResponse:
    return HttpResponseRedirect(_address_of(request, asked), status=HTTPStatus.SEE_OTHER)


def _address_of(request: HttpRequest, asked: Any) -> str:
    return reverse("request", args=[asked.pk]) + Filters.from_query(request.GET).query


def _name_address(request: HttpRequest, shown: HttpResponse) -> HttpResponse:
    """Have the script of the page show the address of what a redirect led to, without what was done."""
    if DONE in request.GET:
        shown["HX-Push-Url"] = request.path + Filters.from_query(request.GET).query
    return shown


def _show_request(
    request: HttpRequest,
    asked: Any,
    *,
    trail: list[queries.TimelineEntry] | None = None,
    form: AnyForm | None = None,
    notice: str = "",
    status: HTTPStatus = HTTPStatus.OK,
) -> HttpResponse:
    """Show the request, alone or in the whole page with the list beside it."""
    alone = wants_detail(request)
    around = _page_context(request) if alone else _list_context(request, asked)
    shown = RequestPage(
        asked=asked,
        username=request.user.get_username(),
        rights=queries.rights_of(user_id(request), asked),
        trail=queries.history(asked) if trail is None else trail,
        now=around["now"],
        beside=queries.open_beside(user_id(request), asked, LOOKED_AT),
        form=form,
        notice=notice,
    )
    template = "approvals/_request.html" if alone else "approvals/inbox.html"
    context = around | shown.context | {"here": _address_of(request, asked)}
    return _name_address(request, render(request, template, context, status=status))


def _request_beside(request: HttpRequest) -> Any | None:
    """Return the request that is open beside the list; None if there is none that may be seen."""
    with suppress(UnknownRequest):
        return queries.request_for(user_id(request), request.GET.get("open", ""))
    return None


def _list_context(request: HttpRequest, opened: Any | None = None, **which: Any) -> dict[str, Any]:
    """Return what the list shows, beside the open request; `which` is as InboxPage has it."""
    listed = InboxPage(user_id(request), Filters.from_query(request.GET))
    return _page_context(request) | listed.context(beside=opened, **which)


def _page_context(request: HttpRequest) -> dict[str, Any]:
    return {
        "now": database_now(),
        "filters": Filters.from_query(request.GET),
        "section": "inbox",
        "done": _done(request),
    }


def _done(request: HttpRequest) -> Done | None:
    """Return what this person did just before, as the address says; None if that is not on record."""
    done = request.GET.get(DONE, "") if request.method == "GET" else ""
    return Done.by(user_id(request), done) if done else None
