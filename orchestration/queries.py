"""All reads of runs: which ones a user may see, which have changed, and which nobody executes.

Synchronous ORM code; coroutines call it by approvals.database.threads.in_database.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db.models import Case, Count, F, Prefetch, Q, QuerySet, When
from django.db.models.functions import Now

from approvals.database.fields import JSONText
from approvals.queries import moment_on_the_wire
from orchestration import catalog
from orchestration.exceptions import UnknownRun
from orchestration.models import FINISHED, OPEN, Message, Process, Run, RunStatus, StepRecord, StepStatus

Runs: TypeAlias = QuerySet[Run]

SEE_ALL = "orchestration.view_run"
CHANGE_ALL = "orchestration.change_run"
START = "orchestration.add_run"

# The kinds of records that are questions to people.
QUESTIONS = ("approve", "ask")

# What a summary leaves out.
LARGE_IN_RUN = frozenset({"input", "plan", "result", "error", "waiting_for"})

# Nobody executes the run: it has no process, or one that released or lost its lease.
UNOWNED = Q(status__in=OPEN) & (
    Q(process__isnull=True) | Q(process__released_at__isnull=False) | Q(process__expires_at__lte=Now())
)


_LIVING = Q(released_at__isnull=True, expires_at__gt=Now())


def is_known() -> Q:
    """Return the condition that this process knows the run's orchestration and version."""
    names: defaultdict[int, list[str]] = defaultdict(list)
    for name, version in catalog.registered_kinds():
        names[version].append(name)
    condition = Q(pk__in=[])
    for version, those in names.items():
        condition |= Q(version=version, orchestration__in=those)
    return condition


def unknown_kinds() -> dict[catalog.Kind, int]:
    """Return the orchestrations that this process does not know, with how many open runs each has."""
    runs = Run.objects.filter(status__in=OPEN).exclude(is_known()).order_by()
    counted = runs.values_list("orchestration", "version").annotate(Count("pk"))
    return {(name, version): number for name, version, number in counted}


# What people see


def list_runs(
    user_id: int,
    *,
    status: str | None = None,
    search: str = "",
    orchestration: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    behind: tuple[datetime, UUID] | None = None,
    limit: int = 200,
) -> list[Run]:
    """Return the runs that this user may see, newest first; `search` in title, orchestration, owner and id.

    Created at `since` or later, and before `until`; `behind` is moment and id of the run before the first.
    """
    runs = visible_to(user_id)
    given = {
        "status": status,
        "orchestration": orchestration,
        "created_at__gte": since,
        "created_at__lt": until,
    }
    runs = runs.filter(**{name: value for name, value in given.items() if value is not None})
    if search:
        runs = runs.filter(search_condition(search.strip()))
    if behind is not None:
        at, run_id = behind
        runs = runs.filter(Q(created_at__lt=at) | Q(created_at=at, pk__lt=run_id))
    return list(_with_details(runs).order_by("-created_at", "-id")[:limit])


def run_for(user_id: int, run_id: UUID | str, *, own: bool = False, waits: bool = True) -> Run:
    """Return the run; UnknownRun where it does not exist or this user may not see it.

    With `own`, also where it belongs to somebody else. `waits`: read what it waits for along.
    """
    runs = visible_to(user_id).filter(pk=parse_run_id(run_id))
    runs = runs.filter(owner_id=user_id) if own else runs
    run = (_with_details(runs) if waits else _with_people(runs)).first()
    if run is None:
        raise unknown_run(run_id)
    return run


def run_by_id(run_id: UUID | str) -> Run:
    """Return the run without a check of permissions, for code that acts for the installation."""
    run = _with_details(Run.objects.all()).filter(pk=parse_run_id(run_id)).first()
    if run is None:
        raise unknown_run(run_id)
    return run


def runs_by_id(run_ids: Collection[UUID]) -> list[Run]:
    """Return these runs without a check of permissions."""
    return list(_with_details(Run.objects.filter(pk__in=run_ids)))


def visible_run_ids(user_ids: Collection[int], run_ids: Collection[UUID]) -> dict[int, set[UUID]]:
    """Return which of these runs each of these users may see now; always three queries."""
    owners = dict(Run.objects.filter(pk__in=run_ids).values_list("pk", "owner_id"))
    users = get_user_model()._default_manager.filter(pk__in=user_ids, is_active=True)
    see_all = set(users.filter(_holds(SEE_ALL)).values_list("pk", flat=True))
    return {
        user_id: {run_id for run_id, owner in owners.items() if owner == user_id or user_id in see_all}
        for user_id in users.values_list("pk", flat=True)
    }


def may_change(user_id: int, run: Run) -> bool:
    """Tell whether this user may cancel or resume the run: its owner, and holders of the permission."""
    user = _active(user_id)
    return user is not None and (run.owner_id == user_id or user.has_perm(CHANGE_ALL))


def may_start(user_id: int) -> bool:
    """Tell whether this user may start runs."""
    user = _active(user_id)
    return user is not None and user.has_perm(START)


def run_on_the_wire(run: Run) -> dict[str, Any]:
    """Return the run as JSON for pages, sockets and programs.

    `waiting_for` has only ids: not everybody who may see the run may see its requests.
    """
    return {
        "id": str(run.pk),
        "orchestration": run.orchestration,
        "version": run.version,
        "title": run.title,
        "owner": None if run.owner is None else run.owner.get_username(),
        "status": run.status,
        "reason": run.reason,
        "input": run.input,
        "plan": run.plan,
        "result": run.result,
        "resumed_by": None if run.resumed_by is None else run.resumed_by.get_username(),
        "resumed_at": moment_on_the_wire(run.resumed_at),
        "cancelled_by": None if run.cancelled_by is None else run.cancelled_by.get_username(),
        "error": run.error,
        "waiting_for": [str(step.request_id) for step in _open_steps(run)],
        "created_at": moment_on_the_wire(run.created_at),
        "started_at": moment_on_the_wire(run.started_at),
        "finished_at": moment_on_the_wire(run.finished_at),
    }


def run_summary_on_the_wire(run: Run) -> dict[str, Any]:
    """Return the run as JSON without its large fields."""
    kept = {name: value for name, value in run_on_the_wire(run).items() if name not in LARGE_IN_RUN}
    return kept | {"summary": True}


def messages_of(run: Run | UUID, after: int = 0) -> list[Message]:
    """Return the run's messages in order, from the first whose id is greater than `after`."""
    run_id = run.pk if isinstance(run, Run) else run
    return list(Message.objects.filter(run_id=run_id, id__gt=after).order_by("id"))


def steps_of(run: Run) -> list[StepRecord]:
    """Return the run's records in the order of their ids."""
    return list(StepRecord.objects.filter(run=run).order_by("id"))


def result_of_step(run: Run, step_id: int) -> Any:
    """Return the result of a step of the run; UnknownRun where there is no such step."""
    for result in StepRecord.objects.filter(run=run, pk=step_id, kind="step").values_list(
        "result", flat=True
    ):
        return result
    raise unknown_run(f"{run.pk} with a step {step_id}")


def last_steps_of(run: Run, limit: int) -> list[StepRecord]:
    """Return the run's last records, at most so many, in the order of their ids.

    Results are those of questions only: a step's may be large.
    """
    outcome = When(kind__in=QUESTIONS, then=F("result"))
    records = StepRecord.objects.filter(run=run).defer("result").order_by("-id")
    found = records.annotate(outcome=Case(outcome, default=None, output_field=JSONText()))[:limit]
    for record in found:
        record.result = record.outcome
    return list(reversed(found))


def request_ids_of(run_id: UUID) -> list[UUID]:
    """Return the ids of the run's requests, in the order in which it asked."""
    asked = StepRecord.objects.filter(run_id=run_id, request_id__isnull=False).order_by("id")
    return [request_id for request_id in asked.values_list("request_id", flat=True) if request_id]


# What changed, what there is to do


def runs_changed_since(moment: datetime) -> dict[UUID, tuple[datetime, str]]:
    """Return the runs that changed at `moment` (database clock) or later, each with time and status."""
    changed = Run.objects.filter(changed_at__gte=moment)
    return {pk: (at, status) for pk, at, status in changed.values_list("pk", "changed_at", "status")}


def open_by_status() -> dict[str, int]:
    """Count the open runs by status."""
    found = dict(Run.objects.filter(status__in=OPEN).order_by().values_list("status").annotate(Count("pk")))
    return {status.value: found.get(status.value, 0) for status in OPEN}


def runs_to_cancel(run_ids: Collection[UUID]) -> list[UUID]:
    """Return those of the runs that somebody has cancelled and that are still open."""
    return list(
        Run.objects.filter(pk__in=run_ids, status__in=OPEN, cancel_requested_at__isnull=False).values_list(
            "pk", flat=True
        )
    )


def runs_taken_over(epochs: Mapping[UUID, int]) -> list[UUID]:
    """Return those of the runs that have ended, or have another epoch than the one given."""
    current = Run.objects.filter(pk__in=epochs.keys(), status__in=OPEN).values_list("pk", "epoch")
    mine = {run_id for run_id, epoch in current if epoch == epochs[run_id]}
    return [run_id for run_id in epochs if run_id not in mine]


def runs_to_tidy(run_ids: Collection[UUID] | None = None) -> list[UUID]:
    """Return the ended runs (of these) that may have open requests."""
    runs = Run.objects.filter(leaves_requests=True, status__in=FINISHED)
    return list((runs if run_ids is None else runs.filter(pk__in=run_ids)).values_list("pk", flat=True))


def executing_process(run_id: UUID) -> Process | None:
    """Return the living process that owns the open run; None for a worker of the job queue."""
    return Process.objects.filter(_LIVING, runs__pk=run_id, runs__status__in=OPEN).first()


def has_live_server() -> bool:
    """Tell whether a living process takes up runs that nobody executes."""
    return Process.objects.filter(_LIVING, serves=True).exists()


def unowned_runs(
    run_ids: Collection[UUID] | None = None, *, after: UUID | None = None, limit: int
) -> list[UUID]:
    """Return runs (of these) that this process knows and nobody executes, by id, from `after` on."""
    runs = Run.objects.filter(UNOWNED, is_known())
    if run_ids is not None:
        runs = runs.filter(pk__in=run_ids)
    if after is not None:
        runs = runs.filter(pk__gt=after)
    return list(runs.order_by("pk").values_list("pk", flat=True)[:limit])


def runs_not_begun(process_id: UUID, executing: frozenset[UUID]) -> list[UUID]:
    """Return open runs that this process owns but does not execute: it was interrupted after it took them."""
    own = Run.objects.filter(status__in=OPEN, process_id=process_id)
    if own.count() <= len(executing):  # the usual case: one number is read instead of thousands of ids
        return []
    return [run_id for run_id in own.values_list("pk", flat=True) if run_id not in executing]


def titles_between(user_id: int, first: UUID, last: UUID, limit: int) -> list[tuple[UUID, str]]:
    """Return the ids from the first to the last of runs that the user may see, with titles, newest first."""
    runs = visible_to(user_id).filter(pk__range=(first, last)).order_by("-pk")
    return list(runs.values_list("pk", "title")[:limit])


def parse_run_id(run_id: UUID | str) -> UUID:
    """Return the id as a UUID; UnknownRun where it is none."""
    try:
        return run_id if isinstance(run_id, UUID) else UUID(str(run_id))
    except ValueError:
        raise unknown_run(run_id) from None


def unknown_run(run_id: object) -> UnknownRun:
    """Return the error for a run that does not exist, or that the user may not see."""
    return UnknownRun(f"There is no run {str(run_id)[:100]!r}.")


def visible_to(user_id: int) -> Runs:
    """Return the runs that this user may see."""
    user = _active(user_id)
    if user is None:
        return Run.objects.none()
    return Run.objects.all() if user.has_perm(SEE_ALL) else Run.objects.filter(owner_id=user_id)


def _active(user_id: int) -> Any:
    return get_user_model()._default_manager.filter(pk=user_id, is_active=True).first()


def _holds(permission: str) -> Q:
    """Return the condition that a user has this permission, directly, by a group or as a superuser."""
    app, _, codename = permission.partition(".")
    held = Permission.objects.filter(content_type__app_label=app, codename=codename)
    return Q(is_superuser=True) | Q(user_permissions__in=held) | Q(groups__permissions__in=held)


def search_condition(search: str) -> Q:
    """Return the condition that title, orchestration, owner or id have this text."""
    username = f"owner__{get_user_model().USERNAME_FIELD}__icontains"
    found = Q(orchestration__icontains=search) | Q(title__icontains=search) | Q(**{username: search})
    try:
        return found | Q(pk=UUID(search))
    except ValueError:
        return found


def _with_details(runs: Runs) -> Runs:
    asked = StepRecord.objects.filter(status=StepStatus.OPEN).order_by("id")
    return _with_people(runs).prefetch_related(Prefetch("steps", asked, to_attr="open_steps"))


def _with_people(runs: Runs) -> Runs:
    return runs.select_related("owner", "cancelled_by", "resumed_by")


def _open_steps(run: Run) -> list[StepRecord]:
    if run.status in {RunStatus.RUNNING, RunStatus.WAITING}:
        loaded = getattr(run, "open_steps", None)
        asked = run.steps.filter(status=StepStatus.OPEN).order_by("id")
        return list(asked if loaded is None else loaded)
    return []
