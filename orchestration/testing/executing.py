"""Execute the runs that the code under test has started, as far as they come without people."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

from asgiref.sync import async_to_sync

from approvals import queries as approvals_queries
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from orchestration import queries
from orchestration.engines.run_tasks import Executions
from orchestration.models import Run, StepRecord, StepStatus
from orchestration.runs import journal
from orchestration.runs.journal import Claimed, Ownership
from orchestration.runs.recorder import IdleMarker, Recorder
from orchestration.runs.replies import considered_in
from orchestration.runs.run import Means
from orchestration.testing.threads import CallersThread

P = ParamSpec("P")
T = TypeVar("T")

# Runs that are executed at once.
AT_ONCE = 1000
# Seconds that they may take until each waits for a person or for time to pass, or has ended.
PATIENCE = 30.0


def execute_runs() -> list[Run]:
    """Execute all open runs, as a server does, until each waits or has ended; return their rows.

    What they ask is then in `approvals.testing.pending()`; after a decision, call it again: the runs go on
    from their record, as after a restart of the server. Synchronous steps are performed on this thread, with
    the test's connection to the database; pauses before retries take no time. TimeoutError after 30 seconds.
    In coroutines, await `aexecute_runs`.
    """
    runs: list[Run] = async_to_sync(aexecute_runs)()
    return runs


async def aexecute_runs() -> list[Run]:
    """Execute all open runs as `execute_runs`, in a coroutine."""
    activities: dict[UUID, _Activity] = {}

    def recorder(claimed: Claimed, idle_marker: IdleMarker) -> Recorder:
        return _WatchedRecorder(activities[claimed.run.pk], claimed, idle_marker)

    executions = Executions(Means(CallersThread(), recorder=recorder))
    try:
        open_runs = await in_database(queries.unowned_runs, limit=AT_ONCE)
        claimed = await in_database(journal.claim, open_runs, None)
        activities.update((each.run.pk, _Activity()) for each in claimed)
        tasks = {each.run.pk: executions.begin(each) for each in claimed}
        async with asyncio.timeout(PATIENCE):
            for run_id, task in tasks.items():
                await _until_it_waits(run_id, task, activities[run_id])
    finally:
        await executions.let_go()
        executions.close()
    return await in_database(_read, open_runs)


async def _until_it_waits(run_id: UUID, task: asyncio.Task[None], activity: _Activity) -> None:
    """Return when the run has ended, or only waits for what has not come."""
    while not task.done():
        waiting = asyncio.ensure_future(activity.idle.wait())
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        # Before the look: if the run goes on during it, it becomes idle again.
        activity.idle.clear()
        writes = activity.writes
        due = not task.done() and await in_database(_is_due, run_id)
        if not due and activity.rests and activity.writes == writes:
            break
    if task.done():
        await task


def _is_due(run_id: UUID) -> bool:
    """Tell whether something that the run waits for has come, so that it goes on soon."""
    records = StepRecord.objects.filter(run_id=run_id)
    if records.filter(status=StepStatus.SLEEPING, due_at__lte=database_now()).exists():
        return True
    open_ = records.filter(status=StepStatus.OPEN).values_list("request_id", "result")
    asked = {request_id: result for request_id, result in open_ if request_id is not None}
    if approvals_queries.outcomes(list(asked), only_closed=True):
        return True
    return any(_is_asked_back(request_id, result) for request_id, result in asked.items())


def _is_asked_back(request_id: UUID, result: Any) -> bool:
    """Tell whether the run has yet to consider a question about this request."""
    known = considered_in(result, request_id)
    found = None if known is None else approvals_queries.open_questions(request_id, known)
    return found is not None and bool(found[0])


def _read(run_ids: Collection[UUID]) -> list[Run]:
    return list(Run.objects.filter(pk__in=run_ids).order_by("pk"))


class _Activity:
    """What a run does: whether its code executes, how many writes it has begun, how many are under way."""

    def __init__(self) -> None:
        self.idle = asyncio.Event()
        self.executing = True
        self.writes = 0
        self.under_way = 0

    @property
    def rests(self) -> bool:
        """Whether the run only waits, unless what it waits for has come."""
        return not self.executing and not self.under_way


class _WatchedRecorder(Recorder):
    """A Recorder that says when its run only waits."""

    def __init__(self, activity: _Activity, claimed: Claimed, idle_marker: IdleMarker) -> None:
        self._activity = activity
        super().__init__(claimed, idle_marker)

    @property
    def executing(self) -> bool:
        return self._activity.executing

    @executing.setter
    def executing(self, value: bool) -> None:
        self._activity.executing = value
        if not value:
            self._activity.idle.set()

    async def pause(self, seconds: float) -> None:
        """Pause no longer than the loop needs."""
        await asyncio.sleep(0)

    async def _write(
        self,
        executing: bool,
        write: Callable[Concatenate[Ownership, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        self._activity.writes += 1
        self._activity.under_way += 1
        try:
            return await super()._write(executing, write, *args, **kwargs)
        finally:
            self._activity.under_way -= 1
