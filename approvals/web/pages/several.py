"""The page on which a person decides several requests at once: each is shown, each gets its own outcome."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from approvals.database.clock import database_now
from approvals.domain.lifecycle import Outcome
from approvals.exceptions import ApprovalError, InvalidRequest, UnknownRequest
from approvals.web.edge.problems import STATUSES
from approvals.web.pages import acts
from approvals.web.pages.access import page, record_views, user_id
from approvals.web.pages.acts import UNPRESSED
from approvals.web.pages.chosen import Chosen
from approvals.web.pages.filters import Filters
from approvals.web.pages.forms import TogetherForm
from approvals.web.pages.results import Result

# The longest query string of the inbox that is kept for the way back.
LONGEST_WAY = 2_000


@page(UnknownRequest)
@require_http_methods(["GET", "HEAD", "POST"])
def decide_several(request: HttpRequest) -> HttpResponse:
    """Show the requests of the address or, after a POST of their ids, the outcome of each."""
    sent = request.POST if request.method == "POST" else request.GET
    try:
        chosen = Chosen.read(user_id(request), sent.getlist("id"))
    except InvalidRequest as error:
        return _refuse(request, error)
    if request.method != "POST" or not chosen.ids:
        record_views(request, [asked.pk for asked in chosen.open])
        return _show(request, chosen, TogetherForm(chosen.open))
    form = TogetherForm(chosen.open, request.POST)
    if form.unpressed:
        return _show(request, chosen, form, notice=UNPRESSED)
    if not form.is_valid():
        return _show(request, chosen, form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    try:
        outcomes = acts.decide_together(request, chosen, form.cleaned_data)
    except ApprovalError as error:  # the writer has no room for all of them: none is decided
        return _show_refusal(request, chosen, form, error)
    return _show_results(request, chosen, outcomes)


def _show(
    request: HttpRequest,
    chosen: Chosen | None,
    form: TogetherForm | None = None,
    *,
    notice: str = "",
    status: HTTPStatus = HTTPStatus.OK,
) -> HttpResponse:
    rows = [] if chosen is None else list(chosen.requests.values())
    context = {"chosen": chosen, "rows": rows, "form": form, "notice": notice}
    return render(request, "approvals/several.html", _page_context(request) | context, status=status)


def _refuse(request: HttpRequest, error: ApprovalError) -> HttpResponse:
    """Say why nothing of what was sent is shown."""
    return _show(request, None, notice=f"{error.detail} Nothing was recorded.", status=STATUSES[error.code])


def _show_refusal(
    request: HttpRequest, chosen: Chosen, form: TogetherForm, error: ApprovalError
) -> HttpResponse:
    """Say why nothing was recorded; what was typed stays."""
    notice = f"{error.detail} What you sent was not recorded."
    response = _show(request, chosen, form, notice=notice, status=STATUSES[error.code])
    response["Retry-After"] = "2"
    return response


def _show_results(
    request: HttpRequest, chosen: Chosen, outcomes: Sequence[Outcome | ApprovalError]
) -> HttpResponse:
    context = _page_context(request)
    each = zip(chosen.ids, outcomes, strict=True)
    results = [_result(chosen, id_, outcome, context["filters"].query) for id_, outcome in each]
    refused = sum(bool(result.code) for result in results)
    context |= {"results": results, "done": len(results) - refused, "refused": refused}
    return render(request, "approvals/several_done.html", context)


def _result(chosen: Chosen, id_: str, outcome: Outcome | ApprovalError, way_back: str) -> Result:
    asked = chosen.find(id_)
    if asked is None:
        return Result.of(id_, "", outcome)
    return Result.of(asked.title, reverse("request", args=[asked.pk]) + way_back, outcome)


def _page_context(request: HttpRequest) -> dict[str, Any]:
    """Return what the page always has. `back`: the query string of the inbox, sent along from there."""
    back = (request.POST.get("back") or request.GET.get("back", ""))[:LONGEST_WAY]
    filters = Filters.from_query(QueryDict(back.removeprefix("?")))
    return {"now": database_now(), "filters": filters, "section": "inbox"}
