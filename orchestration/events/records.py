"""Requests under ids of one kind, and the writes for them that this process has submitted."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from uuid import UUID
from weakref import WeakSet

from approvals import gate, queries
from approvals.database.fields import new_id
from approvals.database.threads import in_database
from approvals.database.transactions import arefuse_inside_a_transaction
from approvals.domain import questions
from approvals.domain.commands import Actor, Command, Keyed, OpenRequest, Refused, Reschedule, Result
from approvals.domain.lifecycle import DEFAULT_ANSWER, Kind, Outcome, Verdict
from approvals.domain.payloads import check_text, seconds
from approvals.exceptions import AlreadyDecided, InvalidRequest, TooLate
from approvals.gate import KEY_LIMIT, TITLE_LIMIT
from approvals.process import forks
from approvals.waiting.waiting_room import waiting_room
from approvals.writer import queue

logger = logging.getLogger(__name__)


class EventRecords:
    """The requests of one kind by id, and this process's writes for them that are not done."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.scope = f"events:{kind.value}"
        # Ids that were deleted from the mapping, each with the request that it stood for then.
        self._hidden: dict[str, UUID] = {}
        self.forget_all()
        _all.add(self)

    def forget_all(self) -> None:
        """Forget all writes that are not done."""
        self._lock = threading.Lock()
        self._writes: defaultdict[str, list[Future[Result]]] = defaultdict(list)

    def key_of(self, event_id: str) -> Keyed:
        """Return the key of the event's request, by which the writer finds it."""
        return Keyed(key_scope=self.scope, key=event_id)

    def submit(self, event_id: str, timeout: float | timedelta, result: Command | None = None) -> None:
        """Ask, or record the result, of a request that is asked within `timeout` if nobody has asked it.

        Outside of event loops it is written at once, else soon, even if the loop ends before.
        """
        commands = self._commands(event_id, timeout, result)
        self._hidden.pop(event_id, None)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            for command in commands:
                self._write_now(event_id, command)
            return
        with self._lock:
            writes = queue.submit_many(commands)
            # Earlier writes that failed are replaced by these.
            self._writes[event_id] = [write for write in self._writes[event_id] if not write.done()] + writes
        for write in writes:
            write.add_done_callback(partial(self._on_write_done, event_id))

    async def awrite(
        self,
        event_id: str,
        timeout: float | timedelta,  # noqa: ASYNC109 - the request's deadline, not this call's
        result: Command | None = None,
    ) -> None:
        """Write as `submit` does, await the record, and raise what was refused."""
        commands = self._commands(event_id, timeout, result)
        await arefuse_inside_a_transaction()
        self._hidden.pop(event_id, None)
        for written in await _await_all(queue.submit_many(commands)):
            queue.outcome_of_result(written)

    async def outcome(self, event_id: str, timeout: float | timedelta | None) -> Outcome:  # noqa: ASYNC109
        """Wait for the outcome, after everything that was submitted for the id is on record."""
        given = seconds(timeout, "timeout", none_allowed=True)
        await arefuse_inside_a_transaction()
        await self._await_writes(event_id)
        outcome = await in_database(self.read, event_id)
        if given is not None and not outcome.closed:
            command = Reschedule(request_id=UUID(outcome.request_id), actor=Actor.program(), timeout=given)
            outcome = await queue.awrite(command)
        if outcome.closed:
            return outcome
        patience = None if given is None else await in_database(_patience, outcome.request_id, given)
        return await waiting_room().wait(outcome.request_id, patience)

    def read(self, event_id: str) -> Outcome:
        """Return the outcome on record now; KeyError where there is none."""
        try:
            row = queries.request_of_key(self.scope, self._check_id(event_id))
        except InvalidRequest:  # no setter would have taken such an id
            row = None
        if row is None:
            raise KeyError(event_id)
        return queries.outcome_of(row)

    def visible(self, event_id: str) -> Outcome:
        """Return the outcome on record now; KeyError where there is none, or the id is hidden."""
        outcome = self.read(event_id)
        if self._is_hidden(event_id, UUID(outcome.request_id)):
            raise KeyError(event_id)
        return outcome

    def all_visible(self) -> dict[str, UUID]:
        """Return the request of each id that is not hidden, oldest first."""
        latest = queries.requests_of_keys(self.scope)
        return {event_id: pk for event_id, pk in latest.items() if not self._is_hidden(event_id, pk)}

    def hide(self, ids: Mapping[str, UUID]) -> None:
        """Hide these ids until they are set in this process, or asked again in any."""
        self._hidden.update(ids)

    def _is_hidden(self, event_id: str, request_id: UUID) -> bool:
        return self._hidden.get(event_id) == request_id

    def wait_for_writes(self, event_id: str | None = None) -> None:
        """Return when everything that was submitted, for this id or for all, is on record or has failed."""
        for write in self._pending_writes(event_id):
            write.exception()

    def forget(self, event_id: str) -> None:
        """Drop the writes of this id, and with them an error that no wait has raised."""
        with self._lock:
            self._writes.pop(event_id, None)

    def _commands(
        self, event_id: str, timeout: float | timedelta, result: Command | None
    ) -> tuple[Command, ...]:
        """Build the command that asks, or finds the request; then that of the result.

        Without a result, a closed request is asked again.
        """
        self._check_id(event_id)
        words = "Approval of plan" if self.kind is Kind.APPROVAL else "Clarification"
        title = f"{words} {event_id}"[:TITLE_LIMIT]
        opening = OpenRequest(
            request_id=new_id(),
            actor=Actor.program(),
            kind=self.kind,
            title=title,
            fingerprint=questions.fingerprint(gate.meaning(self.kind, title, {})),
            timeout=seconds(timeout, "default_timeout", none_allowed=False, zero_allowed=False),
            on_timeout=Verdict.REJECT if self.kind is Kind.APPROVAL else None,
            default=None if self.kind is Kind.APPROVAL else DEFAULT_ANSWER,
            key=event_id,
            key_scope=self.scope,
            new_round=result is None,
        )
        return (opening,) if result is None else (opening, result)

    def _write_now(self, event_id: str, command: Command) -> None:
        try:
            queue.write(command)
        except (AlreadyDecided, TooLate) as refused:
            self._log_refusal(event_id, refused.code)

    async def _await_writes(self, event_id: str) -> None:
        """Await the submitted writes; each failure is raised by all waits that awaited it, or by the next."""
        writes = self._pending_writes(event_id)
        try:
            await _await_all(writes)
        except Exception:
            self._drop(event_id, writes)
            raise

    def _check_id(self, event_id: str) -> str:
        field = "plan_id" if self.kind is Kind.APPROVAL else "request_id"
        return check_text(event_id, field, max_length=KEY_LIMIT, required=True, one_line=True)

    def _pending_writes(self, event_id: str | None) -> list[Future[Result]]:
        with self._lock:
            if event_id is None:
                return [write for writes in self._writes.values() for write in writes]
            return list(self._writes.get(event_id, ()))

    def _on_write_done(self, event_id: str, write: Future[Result]) -> None:
        """Forget a write that is on record; keep one that failed, for the next wait to raise."""
        if write.exception() is not None:
            return
        self._drop(event_id, [write])
        result = write.result()
        if isinstance(result, Refused):
            self._log_refusal(event_id, result.code)

    def _drop(self, event_id: str, writes: list[Future[Result]]) -> None:
        with self._lock:
            kept = [write for write in self._writes.pop(event_id, []) if write not in writes]
            if kept:
                self._writes[event_id] = kept

    def _log_refusal(self, event_id: str, code: str) -> None:
        """Log a refused result, since no caller learns of it; the trail has it too."""
        logger.warning("result_refused kind=%s id=%s code=%s", self.kind.value, event_id, code)


async def _await_all(writes: Sequence[Future[Result]]) -> list[Result]:
    """Return the results when all writes are done, and none goes on unseen; or raise the first error."""
    done = await asyncio.gather(*map(asyncio.wrap_future, writes), return_exceptions=True)
    results = []
    for each in done:
        if isinstance(each, BaseException):
            raise each
        results.append(each)
    return results


def _patience(request_id: str, timeout: float) -> float | None:
    """Return `timeout` if it ends before the request's deadline, else None."""
    left = queries.seconds_left(UUID(request_id))
    return timeout if left is None or timeout < left else None


_all: WeakSet[EventRecords] = WeakSet()


def _forget() -> None:
    """Forget in a forked child what the parent has submitted: the parent writes it."""
    for events in _all:
        events.forget_all()


forks.register(_forget)
