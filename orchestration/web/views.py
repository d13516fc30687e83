"""The pages of runs: list, start, read, cancel and resume. Scripts only make them live."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from approvals.database.clock import database_now
from approvals.domain.commands import Actor, Channel
from approvals.queries import open_requests_of, visible_ids
from approvals.web.edge.actors import actor_of_http
from approvals.web.pages.access import page, user_id, wants_detail
from orchestration import catalog, queries
from orchestration.exceptions import (
    AlreadyFinished,
    InvalidInput,
    KeyConflict,
    NotPermitted,
    UnknownOrchestration,
    UnknownRun,
)
from orchestration.manager import OrchestrationManager
from orchestration.models import OPEN, Run, RunStatus
from orchestration.runs.manual_resumption import describe_resumption, is_resumable, resumption_of
from orchestration.web.forms import StartForm
from orchestration.web.plan import shown_steps, time_taken
from orchestration.web.run_lists import RunFilters, known_orchestrations, read_list

REASONS = {
    "rejected": "A person rejected it.",
    "timed_out": "Nobody answered in time.",
    "withdrawn": "The request was withdrawn.",
    "step_failed": "A step failed.",
    "interrupted": "A step was interrupted, and nobody knows whether it was done.",
    "replay_mismatch": "The program has changed since the run began, so it could not go on.",
}


@page(UnknownRun)
@require_safe
def runs(request: HttpRequest) -> HttpResponse:
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
    return render(request, "orchestration/runs.html", context)


@page(UnknownOrchestration)
@require_http_methods(["GET", "HEAD", "POST"])
def start(request: HttpRequest) -> HttpResponse:
    """Show what can be started, then the form of what was chosen; start it, and go to the run's page."""
    if not queries.may_start(user_id(request)):
        raise PermissionDenied(f"Starting runs needs the permission {queries.START}.")
    name = request.GET.get("orchestration", "")
    chosen = catalog.find_orchestration(name) if name else None
    form = StartForm(chosen, request.POST if request.method == "POST" else None) if chosen else None
    if chosen and form and form.is_bound and form.is_valid():
        try:
            run_id = OrchestrationManager().start(
                chosen.name, form.cleaned_data["input"], request.user, key=form.cleaned_data["key"]
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


@page(UnknownRun)
@require_safe
def run_page(request: HttpRequest, run_id: UUID) -> HttpResponse:
    return _render_run(request, queries.run_for(user_id(request), run_id))


@page(UnknownRun)
@require_POST
def cancel(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """End the run, and withdraw what it asks."""

    def cancel_open(actor: Actor, run_id: UUID) -> None:
        if not OrchestrationManager().cancel(actor, run_id):
            raise AlreadyFinished("The run has already ended, so it can't be cancelled.")

    return _change(request, run_id, cancel_open)


@page(UnknownRun)
@require_POST
def resume(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Let the run go on from its record; its page says what that repeats."""
    return _change(request, run_id, OrchestrationManager().resume)


def _change(request: HttpRequest, run_id: UUID, change: Callable[[Actor, UUID], object]) -> HttpResponse:
    """Change the run and redirect to its page, or show why that is not possible any more."""
    run = queries.run_for(user_id(request), run_id)
    try:
        change(actor_of_http(request, Channel.PAGE), run.pk)
    except NotPermitted as error:
        raise PermissionDenied(error.detail) from None
    except AlreadyFinished as error:
        ended = queries.run_for(user_id(request), run_id)
        return _render_run(request, ended, notice=error.detail, status=HTTPStatus.CONFLICT)
    return HttpResponseRedirect(reverse("run", args=[run.pk]), status=HTTPStatus.SEE_OTHER)


def _render_run(
    request: HttpRequest, run: Run, *, notice: str = "", status: HTTPStatus = HTTPStatus.OK
) -> HttpResponse:
    """Render the run: alone if a script asks for the `detail`, else as a whole page."""
    alone = wants_detail(request)
    template = "orchestration/_run.html" if alone else "orchestration/run.html"
    is_open = run.status in OPEN
    waits, waits_beside = _waits(request, run)
    may_change = queries.may_change(user_id(request), run)
    context: dict[str, Any] = {
        "section": "runs",
        "now": database_now(),
        "run": run,
        "notice": notice,
        "steps": shown_steps(run.plan),
        "waits": waits,
        "waits_beside": waits_beside,
        "said": queries.messages_of(run),
        "took": time_taken(run.created_at, run.finished_at) if run.finished_at else "",
        "reason": REASONS.get(run.reason, ""),
        "unknown": catalog.kind_name((run.orchestration, run.version))
        if is_open and (run.orchestration, run.version) not in catalog.registered_kinds()
        else "",
        "ending": run.cancel_requested_at is not None and is_open,
        "may_cancel": is_open and run.cancel_requested_at is None and may_change,
        "resumption": describe_resumption(resumption_of(run.reason, queries.steps_of(run)))
        if may_change and is_resumable(run)
        else None,
    }
    return render(request, template, context, status=status)


def _waits(request: HttpRequest, run: Run) -> tuple[list[Any], int]:
    """Return the run's open requests that this user may see, and how many others there are."""
    asked = open_requests_of(str(run.pk), light=True) if run.status in OPEN else []
    visible = visible_ids([user_id(request)], asked)[user_id(request)]
    shown = [one for one in asked if one.pk in visible]
    return shown, len(asked) - len(shown)
