"""The HTTP API of runs: start, list, read, cancel and resume them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Path, Query, Router, Status

from approvals.domain.commands import Actor
from approvals.domain.payloads import check_json, check_text
from approvals.web.api.authentication import Caller, actor_of, caller_of
from approvals.web.api.paging import cursor_after, place_of
from approvals.web.edge.problems import described
from approvals.web.edge.tokens import Scope
from orchestration import queries
from orchestration.exceptions import InvalidInput, NotPermitted, UnknownOrchestration
from orchestration.manager import KEY_LIMIT, OrchestrationManager, require_cancelled
from orchestration.models import Run
from orchestration.runs import run_records
from orchestration.runs.manual_resumption import how_it_ended
from orchestration.web.api.wire import NewRun, PageOfRuns, ResumptionOnTheWire, RunFilters, RunOnTheWire

router = Router()

# Problems of what changes a run.
ON_CHANGE = ("unknown_run", "already_finished")

RunId = Annotated[str, Path(description="The run's id.", format="uuid")]


@router.post(
    "/runs",
    response={201: RunOnTheWire, 200: RunOnTheWire},
    **described("Start a run", "key_conflict", "too_large"),
)
def start_run(request: HttpRequest, body: NewRun) -> Status[dict[str, Any]]:
    """Queue a run for the servers, owned by the caller. 201: it is new; 200: its `key` was used before.

    Needs the scope `ask` and the permission `orchestration.add_run`.
    """
    caller = caller_of(request, Scope.ASK)
    if not queries.may_start(caller.user_id):
        raise NotPermitted(f"Starting runs needs the permission `{queries.START}`.")
    run_id, new = _start(caller, body, actor_of(request))
    return Status(HTTPStatus.CREATED if new else HTTPStatus.OK, _on_the_wire(caller, run_id))


@router.get("/runs", response=PageOfRuns, **described("List runs"))
def list_runs(request: HttpRequest, filters: Query[RunFilters]) -> dict[str, Any]:
    """List the runs that the caller may see, newest first. Needs the scope `read`."""
    caller = caller_of(request, Scope.READ)
    if filters.orchestration is not None:
        check_text(filters.orchestration, "orchestration", one_line=True)
    runs = queries.list_runs(
        caller.user_id,
        status=filters.status,
        orchestration=filters.orchestration,
        since=filters.since,
        until=filters.until,
        behind=place_of(filters.cursor),
        limit=filters.limit + 1,
    )
    shown = runs[: filters.limit]
    return {
        "runs": [queries.run_on_the_wire(run) for run in shown],
        "next": cursor_after(shown, len(runs) > len(shown), "created_at"),
    }


@router.get("/runs/{run_id}", response=RunOnTheWire, **described("One run", "unknown_run"))
def get_run(request: HttpRequest, run_id: RunId) -> dict[str, Any]:
    """Get one run. Needs the scope `read`; for the caller's own runs, `ask` is enough."""
    return queries.run_on_the_wire(_find(caller_of(request, Scope.READ, Scope.ASK), run_id))


@router.post("/runs/{run_id}/cancel", response=RunOnTheWire, **described("Cancel a run", *ON_CHANGE))
def cancel_run(request: HttpRequest, run_id: RunId) -> dict[str, Any]:
    """End the run and withdraw its open requests. Its process stops it, so it may go on for a moment.

    Needs the scope `ask`. Repeating is safe: the cancelled run is returned. A run that has ended otherwise is
    `already_finished`.
    """
    caller = caller_of(request, Scope.ASK)
    OrchestrationManager().cancel(actor_of(request), _find(caller, run_id).pk)
    run = queries.run_for(caller.user_id, run_id)
    require_cancelled(run)
    return queries.run_on_the_wire(run)


@router.get(
    "/runs/{run_id}/resume",
    response=ResumptionOnTheWire,
    **described("What resuming a run would do", *ON_CHANGE),
)
def preview_resumption(request: HttpRequest, run_id: RunId) -> dict[str, Any]:
    """Say which questions are asked again, and which steps tried again. Changes nothing.

    Needs the scope `ask`, and the right to resume the run. All lists are empty if the run is open.
    """
    caller = caller_of(request, Scope.ASK)
    found = OrchestrationManager().resumption(actor_of(request), _find(caller, run_id).pk)
    return {
        "asked_anew": [{"title": each.name, "ended": how_it_ended(each)} for each in found.asked_anew],
        "tried_again": [{"name": each.name, "error": each.error} for each in found.tried_again],
        "unclear": [{"name": each.name, "error": each.error} for each in found.unclear],
    }


@router.post("/runs/{run_id}/resume", response=RunOnTheWire, **described("Resume a run", *ON_CHANGE))
def resume_run(request: HttpRequest, run_id: RunId) -> dict[str, Any]:
    """Let a run that failed or was rejected go on from its record.

    Questions that ended badly are asked again, failed steps are tried again, and what is recorded as done is
    not repeated. Needs the scope `ask`, and the right to resume the run. Repeating is safe: an open run is
    returned as it is. A run that was completed or cancelled is `already_finished`.
    """
    caller = caller_of(request, Scope.ASK)
    OrchestrationManager().resume(actor_of(request), _find(caller, run_id).pk)
    return _on_the_wire(caller, UUID(run_id))


def _start(caller: Caller, body: NewRun, actor: Actor) -> tuple[UUID, bool]:
    # Errors after these checks are inside the input, or about the orchestration's name.
    key = check_text(body.key or "", "key", max_length=KEY_LIMIT, one_line=True)
    check_json(body.input, "input", stable=not run_records.has_key(caller.user_id, key))
    try:
        return OrchestrationManager().start_once(
            body.orchestration, body.input, caller.user_id, key=body.key, actor=actor
        )
    except UnknownOrchestration:
        raise
    except InvalidInput as error:
        raise _of_body(error) from None


def _of_body(error: InvalidInput) -> InvalidInput:
    """Return the error with fields named as in the body."""
    errors = tuple((_path(field), _sentence(_path(field), message)) for field, message in error.errors)
    return InvalidInput(error.detail, field=errors[0][0], errors=errors)


def _path(field: str) -> str:
    return field if field == "input" else f"input.{field}"


def _sentence(path: str, message: str) -> str:
    return f"{path} {message}." if message.startswith("is ") else f"{path}: {message}"


def _find(caller: Caller, run_id: str) -> Run:
    """Return the run if the caller may see it; without the scope `read`, only runs of its own user."""
    return queries.run_for(caller.user_id, run_id, own=Scope.READ not in caller.scopes)


def _on_the_wire(caller: Caller, run_id: UUID) -> dict[str, Any]:
    return queries.run_on_the_wire(queries.run_for(caller.user_id, run_id))
