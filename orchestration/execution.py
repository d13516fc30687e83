"""Execute a run that this process owns: from the top, against its record, to one recorded end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any
from uuid import UUID

from approvals import deciding, telemetry
from approvals import selectors as approvals_selectors
from approvals.commands import Actor
from approvals.database import in_database
from approvals.exceptions import AlreadyDecided, ApprovalError, InvalidRequest, TooLate
from approvals.payloads import checked_json
from orchestration import journal
from orchestration.catalog import find_orchestration
from orchestration.exceptions import (
    Fenced,
    OrchestrationError,
    Rejected,
    TimedOut,
    plain_words,
)
from orchestration.journal import Claimed, Ending
from orchestration.models import RunStatus
from orchestration.runs import Run

log = logging.getLogger(__name__)

CANCELLATION = Ending(status=RunStatus.CANCELLED, reason="cancelled")


class Execution:
    """One run in one process, for one epoch."""

    def __init__(self, claimed: Claimed, threads: Executor) -> None:
        self._claimed = claimed
        self._owned = claimed.ownership
        self._threads = threads
        self._running: asyncio.Task[Any] | None = None
        self._run: Run | None = None
        self._cancelled = claimed.run.cancel_requested_at is not None
        self._left = False

    @property
    def run_id(self) -> UUID:
        return self._owned.run_id

    @property
    def epoch(self) -> int:
        return self._owned.epoch

    async def execute(self) -> None:
        """Return when the end is on record, or when the run turns out to be somebody else's.

        Cancelled where this process lets go of it.
        """
        row = self._claimed.run
        with (
            telemetry.executing.track_inprogress(),
            telemetry.bound(run=self.run_id),
            telemetry.span(
                "sayso.run", run=self.run_id, orchestration=row.orchestration, epoch=self._owned.epoch
            ) as span,
        ):
            await self._executed(span)

    async def _executed(self, span: telemetry.Span) -> None:
        try:
            ending = await self._to_the_end()
            await self._record(ending)
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
        """End the run where it is. Too late where its end is being recorded; once is enough."""
        if self._cancelled:
            return
        self._cancelled = True
        if self._running is not None:
            self._running.cancel()

    def let_go(self) -> None:
        """Record nothing any more: what cleans up on the way out would stand where the run goes on later."""
        if self._run is not None and self._run.replay.over is None:
            self._run.replay.over = Fenced(f"Run {self.run_id} is left to its next owner.")

    def drain(self) -> None:
        """Let go of the run as soon as no step of it is under way, which may be at once; none begins now."""
        if self._run is None:
            self._left = True
        else:
            self._run.under_way.no_more(self._leave)

    def _leave(self) -> None:
        self._left = True
        self.let_go()
        # In a moment: a task that cancels itself is only told when it waits next, which may be never.
        asyncio.get_running_loop().call_soon(self._stop)

    def _stop(self) -> None:
        if self._running is not None:
            self._running.cancel()

    async def _to_the_end(self) -> Ending:
        if self._left:
            raise Fenced(f"Run {self.run_id} is left to its next owner.")
        if self._cancelled:
            return CANCELLATION
        self._running = _this_task()
        run = self._run = Run(self._claimed, self._threads)
        try:
            ending = await self._called(run)
        except asyncio.CancelledError:
            if self._cancelled:
                self._running.uncancel()
            if self._running.cancelling():
                raise  # this process stops; whoever owns the run next goes on with it
            ending = _failure("cancelled_itself", "The orchestration was cancelled from within.")
        except (Exception, SystemExit) as error:  # who exits within a run must not end the server
            log.info("run failed run=%s", self.run_id, exc_info=True)
            ending = _ending_of(error)
        finally:
            self._running = None
        if isinstance(run.replay.over, Fenced):
            raise run.replay.over
        if self._cancelled:
            return CANCELLATION
        return ending if run.replay.over is None else _ending_of(run.replay.over)

    async def _called(self, run: Run) -> Ending:
        orchestration = find_orchestration(run.orchestration)
        arguments = orchestration.arguments(self._claimed.run.input)
        result = await orchestration.function(run, **arguments)
        try:
            return Ending(status=RunStatus.COMPLETED, result=checked_json(result, "result", stable=False))
        except InvalidRequest as error:
            return _failure("invalid", f"The run's result is not JSON: {error.detail}")

    async def _record(self, ending: Ending) -> None:
        await journal.on_record(journal.ended, self._owned, ending)


def withdraw_requests(run_id: UUID) -> None:
    """Take back what an ended run still asks: nobody waits for it. Repeating this is harmless."""
    if not journal.has_ended(run_id):
        return  # it was resumed meanwhile, and waits for what it asks
    for request in approvals_selectors.open_requests_of(str(run_id)):
        with suppress(AlreadyDecided, TooLate):
            deciding.withdraw(Actor.program(), request.pk, "The run has ended.")
    journal.tidied(run_id)


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - only called from coroutines
    return task


def _ending_of(error: BaseException) -> Ending:
    leaves = list(_leaves(error))
    for leaf in leaves:
        if isinstance(leaf, Fenced):
            raise leaf
    if all(isinstance(leaf, Rejected) for leaf in leaves):
        return Ending(status=RunStatus.REJECTED, reason=_reason(leaves[0]), error=plain_words(error))
    return _failure(_reason(leaves[0]), plain_words(error))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group, as a TaskGroup raises them."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def _reason(error: BaseException) -> str:
    if isinstance(error, Rejected | TimedOut) and error.outcome.timed_out:
        return TimedOut.code
    return error.code if isinstance(error, OrchestrationError | ApprovalError) else "error"


def _failure(reason: str, text: str) -> Ending:
    return Ending(status=RunStatus.FAILED, reason=reason, error=text)
