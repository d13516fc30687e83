"""Execute a run that this process owns: call its function, replay its record, and record its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import UUID

from approvals import deciding
from approvals import queries as approvals_queries
from approvals.database.threads import in_database
from approvals.domain.lifecycle import Outcome
from approvals.domain.payloads import check_json
from approvals.exceptions import AlreadyDecided, ApprovalError, InvalidRequest, TooLate
from approvals.process import telemetry
from orchestration.catalog import Orchestration, find_orchestration, isolation
from orchestration.catalog.isolation import Caught, Raised, catch
from orchestration.exceptions import (
    Cancelled,
    Fenced,
    OrchestrationError,
    Rejected,
    TimedOut,
    plain_words,
)
from orchestration.models import FINISHED, REASON_LIMIT, RunStatus
from orchestration.runs import journal, run_records
from orchestration.runs.journal import Claimed, Ownership
from orchestration.runs.questions import LAST_QUESTION
from orchestration.runs.run import Means, Run
from orchestration.runs.run_records import Ending

log = logging.getLogger(__name__)

# Seconds that a run may take to end after it was cancelled or let go; longer than its last question takes.
ENOUGH = LAST_QUESTION + 1

CANCELLATION = Ending(status=RunStatus.CANCELLED, reason="cancelled")


class Execution:
    """One run in one process, for one epoch."""

    def __init__(self, claimed: Claimed, means: Means) -> None:
        self._claimed = claimed
        self._owned = claimed.ownership
        self._means = means
        self._running: asyncio.Task[Caught[Ending]] | None = None
        self._enough: asyncio.Future[None] | None = None
        self._run: Run | None = None
        self._cancelled = claimed.run.cancel_requested_at is not None
        self._left = False

    @property
    def run_id(self) -> UUID:
        return self._owned.run_id

    @property
    def epoch(self) -> int:
        return self._owned.epoch

    @property
    def executing(self) -> Ownership | None:
        """Its ownership, if according to the record some code of the run executes; else None."""
        return self._owned if self._run is None or self._run.record.executing else None

    async def execute(self) -> None:
        """Execute the run until its end is on record, or until it belongs to another process.

        Raises CancelledError where this process lets go of the run.
        """
        row = self._claimed.run
        with (
            telemetry.executing.track_inprogress(),
            telemetry.bind_ids(run=self.run_id),
            telemetry.span(
                "sayso.run", run=self.run_id, orchestration=row.orchestration, epoch=self._owned.epoch
            ) as span,
        ):
            try:
                ending = await self._to_the_end()
                await journal.on_record(run_records.record_end, self._owned, ending)
            except Fenced:
                if self._left:
                    raise asyncio.CancelledError from None
                log.warning("run left to its new owner run=%s epoch=%s", self.run_id, self._owned.epoch)
                return
            span.note(status=ending.status)
            telemetry.runs_ended.labels(ending.status).inc()
            log.info("run ended run=%s status=%s reason=%s", self.run_id, ending.status, ending.reason)
            await in_database(withdraw_requests, self.run_id)

    def cancel(self) -> None:
        """End the run: refuse all further calls of its code, and cancel it.

        Its end is recorded after ENOUGH seconds, even if its code does not return. Without effect where the
        end is being recorded already.
        """
        if self._cancelled:
            return
        self._cancelled = True
        if self._run is not None:
            self._run.record.cancel(Cancelled(f"Run {self.run_id} is cancelled."))
        if self._running is not None:
            self._running.cancel()
            asyncio.get_running_loop().call_later(ENOUGH, self._wait_no_more)

    def _wait_no_more(self) -> None:
        if self._enough is not None and not self._enough.done():
            self._enough.set_result(None)

    def let_go(self) -> None:
        """Record nothing more: what the code does while it is cancelled must not count later."""
        if self._run is not None:
            self._run.record.cancel(Fenced(f"Run {self.run_id} is left to its next owner."))

    def drain(self) -> None:
        """Let go of the run as soon as none of its steps executes, and begin no further step."""
        if self._run is None:
            self._left = True
        else:
            self._run.record.active_steps.stop_admitting(self._leave)

    def _leave(self) -> None:
        self._left = True
        self.let_go()
        # Not at once: a task that cancels itself notices it only when it waits next, which may be never.
        asyncio.get_running_loop().call_soon(self._stop)

    def _stop(self) -> None:
        if self._running is not None:
            self._running.cancel()

    async def _to_the_end(self) -> Ending:
        if self._left:
            raise Fenced(f"Run {self.run_id} is left to its next owner.")
        if self._cancelled:
            return CANCELLATION
        run = self._run = self._make_run()
        run.record.set_task(asyncio.current_task())
        caught = await self._run_contained(run)
        over = run.replay.over
        if self._cancelled or isinstance(over, Cancelled):
            return CANCELLATION
        if isinstance(over, Fenced):
            raise over
        if over is not None:
            return _ending_of(over)
        if isinstance(caught, Raised):
            ending = _ending_of(caught.error)
            if ending.status == RunStatus.FAILED:  # what people reject, or take back, is no fault of the code
                log.info("run failed run=%s", self.run_id, exc_info=caught.error)
            return ending
        return caught.value

    async def _run_contained(self, run: Run) -> Caught[Ending]:
        """Execute the run's own code, and return what it returned or raised.

        In a task of its own, to tell whether the code cancelled itself or this process lets go of the run.
        """
        loop = asyncio.get_running_loop()
        isolation.contain_tasks(loop)
        self._running = running = loop.create_task(catch(self._call(run)))
        self._enough = loop.create_future()
        either: list[asyncio.Future[Any]] = [running, self._enough]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            running.cancel()
            await asyncio.wait([running], timeout=ENOUGH)
            raise
        finally:
            self._running = None
            if not running.done():
                log.error("run did not stop when cancelled run=%s task=%r", self.run_id, running)
                _stubborn.add(running)
                running.add_done_callback(_stubborn.discard)
        if not running.done() or running.cancelled():
            return Raised(asyncio.CancelledError())
        return running.result()

    async def _call(self, run: Run) -> Ending:
        isolation.enter_run()
        await run.take_up(self._claimed)
        orchestration = self._find_orchestration()
        arguments = orchestration.arguments(self._claimed.run.input)
        result = await orchestration.function(run, **arguments)
        try:
            return Ending(status=RunStatus.COMPLETED, result=check_json(result, "result", stable=False))
        except InvalidRequest as error:
            return _failure("invalid", f"The run's result is not JSON: {error.detail}")

    def _make_run(self) -> Run:
        return Run(self._claimed, self._means)

    def _find_orchestration(self) -> Orchestration:
        return find_orchestration(self._claimed.run.orchestration, self._claimed.run.version)


def withdraw_requests(run_id: UUID) -> None:
    """Withdraw the open requests of a run that has ended or is cancelled. Idempotent."""
    run = run_records.find_ended_or_cancelled(run_id)
    if run is None:
        return  # it was resumed meanwhile, and waits for its requests
    actor, reason = run_records.withdrawal_of(run)
    for request in approvals_queries.open_requests_of(str(run_id)):
        with suppress(AlreadyDecided, TooLate):
            deciding.withdraw(actor, request.pk, reason, by_origin=True)
    if run.status in FINISHED:
        run_records.mark_tidy(run_id)


def _ending_of(error: BaseException) -> Ending:
    leaves = list(_leaves(error)) or [error]
    if all(isinstance(leaf, Rejected) for leaf in leaves):
        return Ending(status=RunStatus.REJECTED, reason=_reason(leaves[0]), error=plain_words(error))
    if isinstance(leaves[0], asyncio.CancelledError):
        return _failure("cancelled_itself", "The orchestration was cancelled from within.")
    return _failure(_reason(leaves[0]), plain_words(error))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors in a group, such as a TaskGroup raises."""
    groups = [error]
    while groups:
        error = groups.pop()
        if isinstance(error, BaseExceptionGroup):
            groups += reversed(error.exceptions)
        else:
            yield error


def _reason(error: BaseException) -> str:
    """Return the code of an error of ours, if it can be recorded, else `error`; a run may derive classes."""
    outcome = getattr(error, "outcome", None)
    if isinstance(error, Rejected | TimedOut) and isinstance(outcome, Outcome) and outcome.timed_out:
        return TimedOut.code
    code = (
        getattr(type(error), "code", None) if isinstance(error, OrchestrationError | ApprovalError) else None
    )
    return code if isinstance(code, str) and 0 < len(code) <= REASON_LIMIT else "error"


def _failure(reason: str, text: str) -> Ending:
    return Ending(status=RunStatus.FAILED, reason=reason, error=text)


# Tasks of runs that ended before their code did; referenced here, so that they are not garbage-collected.
_stubborn: set[asyncio.Task[Caught[Ending]]] = set()
