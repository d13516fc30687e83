"""Ask people what a run asks, record each question, and wait until it is closed.

A wait that is cancelled while its run goes on, as by `asyncio.wait_for`, withdraws its question, unless it is
kept open. The cancelled wait is recorded: a replay must not get an outcome that the run never saw, so it
waits there until it is cancelled again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID

from approvals import deciding, gate, queries
from approvals.database.threads import LOST, in_database
from approvals.domain.lifecycle import Outcome
from approvals.exceptions import ApprovalError, Busy, KeyConflict, Unavailable
from orchestration.exceptions import ReplayMismatch
from orchestration.models import Run, StepStatus
from orchestration.runs import journal, run_records
from orchestration.runs.call_records import Call
from orchestration.runs.recorder import Recorder
from orchestration.runs.replies import OnQuestion, Replying, considered

log = logging.getLogger(__name__)

# Seconds that a cancelled run may take to finish opening a request.
LAST_QUESTION = 5.0
# Seconds that a reply may take to end once its request is closed.
LAST_REPLY = 5.0
NOT_WAITED_FOR = "The run does not wait for it any more."

# Opens a request under the given key, and returns its id.
Ask: TypeAlias = Callable[..., Awaitable[str]]


class Questions:
    """The questions of one execution of a run; `run` is its row when that began."""

    def __init__(self, run: Run, record: Recorder) -> None:
        self._run_id = run.pk
        self._record = record
        self._replay = record.replay
        # A resumed run asks again what was closed when it ended.
        self._asked_since = run.resumed_at
        # Runs resumed before that moment was recorded have the round in the keys of their requests.
        self._key_suffix = f"/{run.resumed}" if run.resumed and run.resumed_at is None else ""

    async def outcome(
        self, call: Call, ask: Ask, *, keep_open: bool = False, on_question: OnQuestion | None = None
    ) -> Outcome:
        """Return the recorded outcome; else open the request, or find it, and wait for its outcome.

        Meanwhile `on_question` replies to what is asked back.
        """
        if self._replay.was_cancelled(call):
            await self._until_cancelled_again(call)
        recorded = await self._record.replay_call(call)
        if recorded is not None:
            return _outcome_from(recorded.result)
        try:
            return _outcome_from(await self._ask_and_wait(call, ask, on_question))
        except asyncio.CancelledError:
            if self._record.goes_on:
                await self._leave(call, keep_open=keep_open)
            raise

    async def _ask_and_wait(self, call: Call, ask: Ask, on_question: OnQuestion | None) -> Any:
        with self._record.waiting():
            request_id = await self._request_for(call, ask, replies=on_question is not None)
            if on_question is None:
                outcome = await self._wait(request_id)
            else:
                outcome = await self._wait_and_reply(call, request_id, on_question)
        result = _outcome_as_json(outcome)
        await self._record.record(call, StepStatus.DONE, request_id=request_id, result=result)
        return result

    async def _request_for(self, call: Call, ask: Ask, *, replies: bool) -> UUID:
        """Return the id of the request that this call waits for: the recorded one, or a new one."""
        recorded = self._replay.find(call)
        if recorded is None or recorded.status != StepStatus.OPEN or recorded.request_id is None:
            return await self._record_request(call, UUID(await self._open(call, ask)), replies=replies)
        await self._record.record_waiting()
        return recorded.request_id

    async def _open(self, call: Call, ask: Ask) -> str:
        try:
            return await _ask_until_recorded(partial(ask, key=self._key(call), asked_since=self._asked_since))
        except KeyConflict as conflict:
            others = f", with other {', '.join(conflict.differs)}" if conflict.differs else ""
            self._replay.end(
                ReplayMismatch(f"At {call.key!r} the run had asked something else before{others}.")
            )

    async def _record_request(self, call: Call, request_id: UUID, *, replies: bool) -> UUID:
        more = {"result": considered(request_id)} if replies else {}
        try:
            await self._record.record(call, StepStatus.OPEN, waits=True, request_id=request_id, **more)
        except asyncio.CancelledError:
            # The run's new owner finds this request by its key; if the run has ended, nobody does.
            if self._replay.over is not None:
                run = await in_database(run_records.find_ended_or_cancelled, self._run_id)
                if run is not None:
                    actor, reason = run_records.withdrawal_of(run)
                    with suppress(ApprovalError):
                        await deciding.awithdraw(actor, request_id, reason, by_origin=True)
            raise
        return request_id

    def _key(self, call: Call) -> str:
        """Return the request's key: another one after each request that was withdrawn with its wait."""
        again = self._replay.cancelled_waits(call)
        return call.key + self._key_suffix + (f"/again/{again}" if again else "")

    # Waits that are cancelled

    async def _leave(self, call: Call, *, keep_open: bool) -> None:
        """Record that the wait was cancelled, then withdraw its request.

        In this order: if the process dies in between, the run must not find a withdrawal that it never saw.
        """
        request_id = await self._request_of(call)
        status = StepStatus.OPEN if keep_open and request_id else StepStatus.GIVEN_UP
        await self._record.record_cancelled_wait(call, status, request_id=request_id)
        if status == StepStatus.GIVEN_UP:
            await self._withdraw(request_id)

    async def _request_of(self, call: Call) -> UUID | None:
        """Return the request of a call; it may be open before the call's record says so."""
        recorded = self._replay.find(call)
        if recorded is not None and recorded.status == StepStatus.OPEN:
            return recorded.request_id
        return await self._find(self._key(call))

    async def _until_cancelled_again(self, call: Call) -> None:
        """Wait where the recorded wait was cancelled: the run saw no outcome there."""
        recorded = self._replay.find(call)
        try:
            await self._record.wait_until_cancelled_again(call)
        except asyncio.CancelledError:
            # The process may have died before it did this.
            if recorded and recorded.status == StepStatus.GIVEN_UP and self._record.goes_on:
                await self._withdraw(recorded.request_id)
            raise

    # Requests that are open

    async def _wait(self, request_id: UUID) -> Outcome:
        return await gate.wait_for_outcome(request_id)

    async def _wait_and_reply(self, call: Call, request_id: UUID, on_question: OnQuestion) -> Outcome:
        """Wait for the outcome, which also ends a reply that is under way."""
        waiting = asyncio.create_task(self._wait(request_id))
        replying = asyncio.create_task(Replying(self._record, call, request_id, on_question).listen())
        try:
            await asyncio.wait([waiting, replying], return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                await replying
            return await waiting
        finally:
            for task in (waiting, replying):
                task.cancel()
            await asyncio.wait([waiting, replying], timeout=LAST_REPLY)

    async def _find(self, key: str) -> UUID | None:
        request = await in_database(queries.request_of_key, f"run:{self._run_id}", key)
        return None if request is None else request.pk

    async def _withdraw(self, request_id: UUID | None) -> None:
        """Withdraw a request, if possible; what stays open is withdrawn when the run ends."""
        if request_id is not None:
            with suppress(ApprovalError):
                await gate.withdraw(request_id, NOT_WAITED_FOR)


async def _ask_until_recorded(ask: Callable[[], Awaitable[str]]) -> str:
    """Open a request, trying again until it is on record; the key makes repeating harmless."""
    away = (Busy, Unavailable, *LOST)
    return await journal.try_until_done(lambda: _finish_asking(ask()), away, log, "request not opened")


async def _finish_asking(asking: Awaitable[str]) -> str:
    """Finish opening a request even if cancelled: the caller must learn its id, to withdraw it."""
    asked = asyncio.ensure_future(asking)
    try:
        return await asyncio.shield(asked)
    except asyncio.CancelledError:
        await asyncio.wait([asked], timeout=LAST_QUESTION)
        raise


def _outcome_as_json(outcome: Outcome) -> dict[str, Any]:
    at = outcome.decided_at
    return asdict(outcome) | {"decided_at": None if at is None else at.isoformat()}


def _outcome_from(value: Mapping[str, Any]) -> Outcome:
    """Build the outcome from its record, as a copy: the run may change its arguments."""
    at = value["decided_at"]
    return Outcome(**{**deepcopy(value), "decided_at": None if at is None else datetime.fromisoformat(at)})
