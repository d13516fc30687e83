"""Perform the steps of a run: record the start of each, call its function, record its result.

Once the result is on record the function is never called again. If the process dies in between, nobody knows
whether the step had its effect: it is called again if its retry policy allows that, else a person is asked.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

from approvals.database.threads import close_obsolete
from approvals.domain.lifecycle import Outcome
from approvals.domain.payloads import check_json
from approvals.process import failpoints, telemetry
from orchestration.catalog import isolation
from orchestration.catalog.isolation import Caught, Raised, catch
from orchestration.catalog.retries import RetryPolicy, pause_after
from orchestration.exceptions import StepFailed, plain_words
from orchestration.models import StepStatus
from orchestration.runs import interruptions
from orchestration.runs.call_records import Call
from orchestration.runs.interruptions import Decision
from orchestration.runs.recorder import Recorder

log = logging.getLogger(__name__)

T = TypeVar("T")

# Asks a person how to go on with an interrupted step.
AskAbout: TypeAlias = Callable[[Call, "partial[Any]"], Awaitable[Outcome]]


class Steps:
    """The steps of one execution of a run; synchronous functions run in `threads`."""

    def __init__(self, run_id: UUID, record: Recorder, threads: Executor, ask_about: AskAbout) -> None:
        self._run_id = run_id
        self._record = record
        self._threads = threads
        self._ask_about = ask_about

    async def perform(self, call: Call, function: partial[Any], policy: RetryPolicy) -> Any:
        """Return the step's recorded result, after performing it if need be; StepFailed if it has failed."""
        if (recorded := await self._record.replay_call(call)) is None:
            try:
                await self._go_on(call, function, policy)
            finally:
                self._record.mark_when_idle()
            recorded = self._record.finished_record(call)
        assert recorded is not None  # noqa: S101 - it is on record by now
        if recorded.status == StepStatus.FAILED:
            raise StepFailed(recorded.error)
        # A copy: the run may change it.
        return deepcopy(recorded.result)

    async def _go_on(self, call: Call, function: partial[Any], policy: RetryPolicy) -> None:
        begun = self._record.replay.find(call)
        if begun is not None and begun.status == StepStatus.STARTED:
            await self._go_on_after_interruption(call, function, policy)
        else:
            await self._attempt(call, function, policy)

    async def _attempt(self, call: Call, function: partial[Any], policy: RetryPolicy) -> None:
        """Call the function until it succeeds or has failed as often as it may."""
        while True:
            await self._record.active_steps.admit_step()
            with self._record.active_steps.track():
                await self._record.record(call, StepStatus.STARTED)
                caught = await catch(self._result(call, function))
                if not isinstance(caught, Raised):
                    failpoints.reach("step-performed")
                    await self._note_result(call, caught.value)
                    return
                await self._note_failure(call, caught.error, last=not policy.attempts_left(call.attempt))
            await self._record.pause(pause_after(call.attempt))
            call = replace(call, attempt=call.attempt + 1)

    async def _result(self, call: Call, function: partial[Any]) -> Any:
        with telemetry.span(
            "sayso.step", run=self._run_id, step=call.key, name=call.name, attempt=call.attempt
        ):
            if inspect.iscoroutinefunction(function):
                return await function()
            # In its context: its log lines carry the run's id, and its spans are children of ours.
            in_thread = partial(copy_context().run, isolation.call, function)
            caught: Caught[Any] = await asyncio.get_running_loop().run_in_executor(self._threads, in_thread)
            if isinstance(caught, Raised):
                raise caught.error
            return await caught.value if inspect.isawaitable(caught.value) else caught.value

    async def _note_failure(self, call: Call, error: BaseException, *, last: bool) -> None:
        """Record an error; raise StepFailed if the step is not tried again."""
        log.info(
            "step failed run=%s step=%s attempt=%s", self._run_id, call.key, call.attempt, exc_info=error
        )
        times = f" at attempt {call.attempt}" if call.attempt > 1 else ""
        text = f"Step {call.name!r} failed{times}: {plain_words(error)}"
        await self._record.record(call, StepStatus.FAILED if last else StepStatus.RETRYING, error=text)
        if last:
            raise StepFailed(text) from error

    async def _note_result(self, call: Call, result: Any) -> None:
        try:
            result = check_json(result, "result", stable=False)
        except Exception as error:  # noqa: BLE001 - values of classes of its own may raise anything
            # Another attempt would repeat the effect, and hardly give a better result.
            await self._note_failure(call, error, last=True)
        await self._record.record(call, StepStatus.DONE, result=result)

    async def _go_on_after_interruption(
        self, call: Call, function: partial[Any], policy: RetryPolicy
    ) -> None:
        """Go on with a step that was begun before, and has no result on record."""
        if policy.may_restart(call.attempt - 1):
            log.warning("interrupted step repeated run=%s step=%s", self._run_id, call.key)
            await self._attempt(call, function, policy)
            return
        outcome = await self._ask_about(call, function)
        if interruptions.decision_of(outcome) is Decision.AGAIN:
            await self._attempt(call, function, policy)
        else:
            await self._note_result(call, interruptions.result_of(outcome))


class StepThreads(ThreadPoolExecutor):
    """Threads for synchronous steps, whose database connections are looked after as in Django's requests."""

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        return super().submit(_with_living_connections, partial(function, *args, **kwargs))


def _with_living_connections(call: Callable[[], T]) -> T:
    close_obsolete()
    try:
        return call()
    finally:
        close_obsolete()
