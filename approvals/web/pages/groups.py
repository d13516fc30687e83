"""The page of a group: its requests, each of which is decided by itself, or all that are open at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from approvals import queries
from approvals.database.clock import database_now
from approvals.domain.lifecycle import Outcome
from approvals.exceptions import ApprovalError, InvalidRequest, UnknownRequest
from approvals.queries import GroupName
from approvals.web.edge.problems import STATUSES
from approvals.web.pages import acts
from approvals.web.pages.access import page, record_views, user_id
from approvals.web.pages.acts import UNPRESSED
from approvals.web.pages.chosen import Chosen
from approvals.web.pages.filters import Filters
from approvals.web.pages.forms import TogetherForm
from approvals.web.pages.group_page import GroupPage, form_of
from approvals.web.pages.results import Result


@page(UnknownRequest)
@require_http_methods(["GET", "HEAD", "POST"])
def group_page(request: HttpRequest) -> HttpResponse:
    """Show the group that the address names or, after a POST of ids of it, the outcome of each as well."""
    name = _name_of(request)
    if request.method == "POST":
        return _decide(request, name)
    shown = GroupPage.read(user_id(request), name)
    record_views(request, [asked.pk for asked in shown.seen])
    return _show(request, shown)


def _name_of(request: HttpRequest) -> GroupName:
    key = request.GET.get("key", "").replace("\x00", "")
    requester = request.GET.get("requester")
    name = queries.name_of_group(requester and requester.replace("\x00", ""), key) if key else None
    if name is None:
        raise queries.unknown_request(key)
    return name


def _decide(request: HttpRequest, name: GroupName) -> HttpResponse:
    reader = user_id(request)
    try:
        chosen = Chosen.read(reader, request.POST.getlist("id"))
    except InvalidRequest as error:
        notice = f"{error.detail} Nothing was recorded."
        return _show(request, GroupPage.read(reader, name), notice=notice, code=error.code)
    which, form = _form_of(request, chosen)
    if form.unpressed or not chosen.ids:
        return _show(request, GroupPage.read(reader, name), notice=UNPRESSED)
    if not form.is_valid():
        return _show(request, GroupPage.read(reader, name, forms={which: form}), code="invalid")
    try:
        outcomes = acts.decide_together(request, chosen, form.cleaned_data)
    except ApprovalError as error:  # the writer has no room for all of them: none is decided
        notice = f"{error.detail} What you sent was not recorded."
        again = GroupPage.read(reader, name, forms={which: form})
        response = _show(request, again, notice=notice, code=error.code)
        response["Retry-After"] = "2"
        return response
    return _show_results(request, name, dict(zip(chosen.ids, _results(chosen, outcomes), strict=True)))


def _form_of(request: HttpRequest, chosen: Chosen) -> tuple[str, TogetherForm]:
    """Return the form that was sent, and of which request it is; empty: of all."""
    if "all" in request.POST or len(chosen.ids) != 1 or not chosen.open:
        return "", TogetherForm(chosen.open, request.POST)
    return str(chosen.open[0].pk), form_of(chosen.open[0], request.POST)


def _results(chosen: Chosen, outcomes: Sequence[Outcome | ApprovalError]) -> list[Result]:
    titles = [asked.title if (asked := chosen.find(id_)) else id_ for id_ in chosen.ids]
    return [Result.of(title, "", outcome) for title, outcome in zip(titles, outcomes, strict=True)]


def _show_results(request: HttpRequest, name: GroupName, results: Mapping[str, Result]) -> HttpResponse:
    """Show the group as it is now, with what came of each; what may not be seen any more is named above."""
    shown: GroupPage | None
    try:
        shown = GroupPage.read(user_id(request), name, results=results)
    except UnknownRequest:
        shown = None
    there = set() if shown is None else {str(row.pk) for row in shown.members.rows}
    refused = sum(bool(result.code) for result in results.values())
    elsewhere = [result for id_, result in results.items() if id_ not in there]
    done = len(results) - refused
    return _show(request, shown, done=done, refused=refused, elsewhere=elsewhere)


def _show(
    request: HttpRequest, shown: GroupPage | None, *, notice: str = "", code: str = "", **said: Any
) -> HttpResponse:
    context = {
        "group": shown,
        "rows": [card.asked for card in shown.cards] if shown else [],
        "form": shown.form_for_all if shown else None,
        "notice": notice,
        "now": database_now(),
        "filters": Filters(),
        "section": "inbox",
        "here": request.get_full_path(),
        **said,
    }
    return render(request, "approvals/group.html", context, status=STATUSES[code] if code else HTTPStatus.OK)
