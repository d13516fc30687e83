"""The pages of runs: list, start, read, cancel and resume. Scripts only make them live."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from approvals.database.clock import database_now
from approvals.domain.commands import Actor, Channel
from approvals.exceptions import UnknownRequest
from approvals.web.edge.actors import actor_of_http
from approvals.web.pages import acts
from approvals.web.pages.access import page, post_only, unsent_notice, user_id, wants_detail
from approvals.web.pages.acts import NotRecorded
from approvals.web.pages.json_tables import pretty
from approvals.web.pages.request_page import form_for
from orchestration import catalog, queries
from orchestration.catalog import Orchestration
from orchestration.exceptions import (
    AlreadyFinished,
    InvalidInput,
    KeyConflict,
    NotPermitted,
    UnknownOrchestration,
    UnknownRun,
)
from orchestration.manager import OrchestrationManager
from orchestration.models import Run, RunStatus
from orchestration.web.forms import StartForm
from orchestration.web.run_lists import RunFilters, known_orchestrations, read_list
from orchestration.web.run_page import RunPage, request_of_run


@page(UnknownRun)
@require_safe
def runs(request: HttpRequest) -> HttpResponse:
    """List runs: as a whole page, or what changes of it if the page's script asks for the `detail`."""
    filters = RunFilters.from_query(request.GET)
    found = read_list(user_id(request), filters)
    context = {
        "section": "runs",
        "now": database_now(),
        "filters": filters,
        "list": found,
        "everybody": request.user.has_perm(queries.SEE_ALL),
        "states": [
            (value, label, filters.link(status=value), found.counts[value])
            for value, label in RunStatus.choices
            if found.counts[value] or value == filters.status
        ],
        "orchestrations": known_orchestrations(filters),
        "no_status": filters.link(status=""),
        "newest": filters.link(),
        "older": filters.link(before=found.older) if found.older else "",
        "may_start": queries.may_start(user_id(request)),
    }
    part = "orchestration/_runs.html" if wants_detail(request) else "orchestration/runs.html"
    return render(request, part, context)


@page(UnknownOrchestration, UnknownRun)
@require_http_methods(["GET", "HEAD", "POST"])
def start(request: HttpRequest) -> HttpResponse:
    """Show what can be started, then the form of what was chosen; start it, and go to the run's page.

    With `again`, the form begins with the input of that run.
    """
    if not queries.may_start(user_id(request)):
        raise PermissionDenied(f"Starting runs needs the permission {queries.START}.")
    name = request.GET.get("orchestration", "")
    chosen = catalog.find_orchestration(name) if name else None
    form = _start_form(request, chosen) if chosen else None
    if chosen and form and form.is_bound and form.is_valid():
        try:
            run_id = OrchestrationManager().start(
                chosen.name,
                form.cleaned_data["input"],
                request.user,
                key=form.cleaned_data["key"],
                actor=actor_of_http(request, Channel.PAGE),
            )
        except (InvalidInput, KeyConflict) as error:
            form.add_start_error(error)
        else:
            return HttpResponseRedirect(reverse("run", args=[run_id]), status=HTTPStatus.SEE_OTHER)
    refused = form is not None and form.is_bound and not form.rearranged
    return render(
        request,
        "orchestration/start.html",
        {"section": "runs", "known": catalog.orchestrations().values(), "chosen": chosen, "form": form},
        status=HTTPStatus.UNPROCESSABLE_ENTITY if refused else HTTPStatus.OK,
    )


def _start_form(request: HttpRequest, chosen: Orchestration) -> StartForm:
    if request.method == "POST":
        return StartForm(chosen, request.POST)
    again = request.GET.get("again")
    return StartForm(chosen, given=_find(request, again).input if again else None)


@page(UnknownRun)
@require_safe
def run_page(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Show the run; with `before`, an earlier part of what happened; with `request`, that one to decide."""
    return _render_run(request, _find(request, run_id), notice=unsent_notice(request))


@page(UnknownRun, UnknownRequest)
@require_http_methods(["GET", "HEAD", "POST"])
def decide(request: HttpRequest, run_id: UUID, request_id: UUID) -> HttpResponse:
    """Decide or answer a request on the page of its run, by the rules of the request's own page."""
    run = _find(request, run_id)
    asked = request_of_run(user_id(request), run, request_id)
    here = reverse("run", args=[run.pk])
    if request.method != "POST":
        return HttpResponseRedirect(f"{here}?request={asked.pk}")
    actor = actor_of_http(request, Channel.PAGE)
    instead = acts.submit(actor, asked, form_for(asked, request.POST))
    if instead is None:
        return HttpResponseRedirect(here, status=HTTPStatus.SEE_OTHER)
    return instead.finish(_render_run(request, run, instead=instead, status=instead.status))


@page(UnknownRun)
@require_safe
def step_result(request: HttpRequest, run_id: UUID, step_id: int) -> HttpResponse:
    """Send the result of a step as JSON: it can be too long for the page."""
    run = _find(request, run_id)
    result = pretty(queries.result_of_step(run, step_id))
    return HttpResponse(result, content_type="application/json; charset=utf-8")


@page(UnknownRun)
@post_only(back_to="run", by="run_id")
def cancel(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """End the run, and withdraw what it asks."""

    def cancel_open(actor: Actor, run_id: UUID) -> None:
        if not OrchestrationManager().cancel(actor, run_id):
            raise AlreadyFinished("The run has already ended, so it can't be cancelled.")

    return _change(request, run_id, cancel_open)


@page(UnknownRun)
@post_only(back_to="run", by="run_id")
def resume(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Let the run go on from its record; its page says what that repeats."""
    return _change(request, run_id, OrchestrationManager().resume)


def _change(request: HttpRequest, run_id: UUID, change: Callable[[Actor, UUID], object]) -> HttpResponse:
    """Change the run and redirect to its page, or show why that is not possible any more."""
    run = _find(request, run_id)
    try:
        change(actor_of_http(request, Channel.PAGE), run.pk)
    except NotPermitted as error:
        raise PermissionDenied(error.detail) from None
    except AlreadyFinished as error:
        ended = _find(request, run_id)
        return _render_run(request, ended, notice=error.detail, status=HTTPStatus.CONFLICT)
    return HttpResponseRedirect(reverse("run", args=[run.pk]), status=HTTPStatus.SEE_OTHER)


def _find(request: HttpRequest, run_id: UUID | str) -> Run:
    return queries.run_for(user_id(request), run_id, waits=False)


def _render_run(
    request: HttpRequest,
    run: Run,
    *,
    instead: NotRecorded | None = None,
    notice: str = "",
    status: HTTPStatus = HTTPStatus.OK,
) -> HttpResponse:
    """Render the run: alone if a script asks for the `detail`, else as a whole page."""
    alone = wants_detail(request)
    template = "orchestration/_run.html" if alone else "orchestration/run.html"
    shown = RunPage(request=request, run=run, instead=instead, notice=notice)
    return render(request, template, shown.context, status=status)
