"""Waiting by plan id and request id: the drop-in replacement for code that polls a dictionary.

Each id is the key of a row. Setters and reads are synchronous, as that code has them; what they hand over is
written in order by this process's writer, and the row decides what a wait returns.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, ItemsView, Iterator, Mapping, MutableMapping, ValuesView
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Generic, TypeVar
from uuid import UUID
from weakref import WeakSet

from approvals import gate, queries
from approvals.database.fields import new_id
from approvals.database.threads import in_database, in_database_now
from approvals.database.transactions import arefuse_inside_a_transaction
from approvals.domain import questions
from approvals.domain.commands import (
    Actor,
    Answer,
    Command,
    Decision,
    Keyed,
    OpenRequest,
    Refused,
    Reschedule,
    Result,
)
from approvals.domain.lifecycle import DEFAULT_ANSWER, Kind, Outcome, Verdict
from approvals.domain.payloads import checked_text, seconds
from approvals.exceptions import AlreadyDecided, InvalidAnswer, InvalidRequest, TooLate
from approvals.gate import KEY_LIMIT, TITLE_LIMIT
from approvals.process import forks
from approvals.waiting.room import waiting_room
from approvals.writer import queue

logger = logging.getLogger(__name__)

V = TypeVar("V")


class OrchestrationConfig:
    """Approvals by plan id and clarifications by request id, on record and without polling.

    Setters return when it is on record; inside a running event loop they hand the write over and return at
    once, and the matching `wait_for_*` awaits the record first. Their `aset_*` twins await it themselves and
    raise what went wrong. A first result stands: a second one is logged and left on the trail.

    `approvals` and `clarifications` are dictionaries over the record: None while pending, else the result.
    Assigning None asks, as `set_*_pending`; assigning a value decides, as `set_*_result`; `del` forgets, as
    `cleanup_*`, and hides the id from this object until it is set again. The record stays, and `wait_for_*`
    still finds it.
    """

    default_timeout: float | timedelta = 300.0

    def __init__(self) -> None:
        self._approvals = EventRecords(Kind.APPROVAL)
        self._clarifications = EventRecords(Kind.CLARIFICATION)
        self.approvals: MutableMapping[str, bool | None] = EventMapping(
            self._approvals,
            _approval_of,
            ask=self.set_approval_pending,
            decide=self.set_approval_result,
            forget=self.cleanup_approval,
        )
        self.clarifications: MutableMapping[str, str | None] = EventMapping(
            self._clarifications,
            _answer_of,
            ask=self.set_clarification_pending,
            decide=self.set_clarification_result,
            forget=self.cleanup_clarification,
        )

    def set_approval_pending(self, plan_id: str) -> None:
        """Ask for the approval of a plan, for `default_timeout` seconds; a closed one is asked anew.

        `approvals[plan_id] = None` does the same.
        """
        self._approvals.submit(
            plan_id, [self._approvals.open_command(plan_id, self.default_timeout, anew=True)]
        )

    async def aset_approval_pending(self, plan_id: str) -> None:
        opening = self._approvals.open_command(plan_id, self.default_timeout, anew=True)
        await self._approvals.awrite(plan_id, [opening])

    def set_approval_result(self, plan_id: str, approved: bool) -> None:
        """Decision the plan, as the program; also before anybody waits, or asked.

        `approvals[plan_id] = True` (or False) does the same.
        """
        self._approvals.submit(plan_id, self._approval(plan_id, approved))

    async def aset_approval_result(self, plan_id: str, approved: bool) -> None:
        """As `set_approval_result`; raises AlreadyDecided or TooLate with what is on record."""
        await self._approvals.awrite(plan_id, self._approval(plan_id, approved))

    async def wait_for_approval(self, plan_id: str, timeout: float | timedelta | None = None) -> bool:  # noqa: ASYNC109
        """Wait for the decision; False where it is no, withdrawn, or the deadline passed.

        The first wait that names a `timeout`, in seconds, puts the deadline there; later ones join. Where a
        later one's is over before the deadline, that call raises StillPending then, and the plan stays open.
        KeyError for a plan that nobody asked about.
        """
        return _approval_of(await self._approvals.outcome(plan_id, timeout)) is True

    def set_clarification_pending(self, request_id: str) -> None:
        """Ask for a clarification, for `default_timeout` seconds; a closed one is asked anew.

        `clarifications[request_id] = None` does the same.
        """
        opening = self._clarifications.open_command(request_id, self.default_timeout, anew=True)
        self._clarifications.submit(request_id, [opening])

    async def aset_clarification_pending(self, request_id: str) -> None:
        opening = self._clarifications.open_command(request_id, self.default_timeout, anew=True)
        await self._clarifications.awrite(request_id, [opening])

    def set_clarification_result(self, request_id: str, answer: str) -> None:
        """Answer, as the program; also before anybody waits, or asked. An empty answer is an answer.

        `clarifications[request_id] = answer` does the same.
        """
        self._clarifications.submit(request_id, self._answer(request_id, answer))

    async def aset_clarification_result(self, request_id: str, answer: str) -> None:
        """As `set_clarification_result`; raises AlreadyDecided or TooLate with what is on record."""
        await self._clarifications.awrite(request_id, self._answer(request_id, answer))

    async def wait_for_clarification(self, request_id: str, timeout: float | timedelta | None = None) -> str:  # noqa: ASYNC109
        """Wait for the answer; the default text where the deadline passed.

        `timeout` as in `wait_for_approval`. KeyError for a question that nobody asked, AlreadyDecided for one
        that was withdrawn.
        """
        outcome = await self._clarifications.outcome(request_id, timeout)
        if outcome.withdrawn:
            raise AlreadyDecided(f"The question {request_id!r} was withdrawn.", outcome=outcome)
        return str(outcome.answer)

    def outcome(self, request_id: str) -> Outcome:
        """All that is on record of a clarification, or of the plan with this id where there is none.

        `timed_out` tells a default from an answer that says the same, `withdrawn` a plan that was taken back
        from one that was rejected. KeyError for an id that nobody asked about.
        """
        for events in (self._clarifications, self._approvals):
            events.wait_for_writes(request_id)
            with suppress(KeyError):
                return in_database_now(events.read, request_id)
        raise KeyError(request_id)

    def cleanup_approval(self, plan_id: str) -> None:
        """Forget what this process keeps in memory about the plan; the record stays.

        `del approvals[plan_id]` does the same, and hides the plan from `approvals` until it is set again.
        """
        self._approvals.forget(plan_id)

    def cleanup_clarification(self, request_id: str) -> None:
        """Forget what this process keeps in memory about the question; the record stays.

        `del clarifications[request_id]` does the same, and hides the question from `clarifications` until it
        is set again.
        """
        self._clarifications.forget(request_id)

    def _approval(self, plan_id: str, approved: bool) -> list[Command]:
        if not isinstance(approved, bool):  # the text "no" is true, too
            raise InvalidAnswer("approved is true or false.", field="approved")
        verdict = Verdict.APPROVE if approved else Verdict.REJECT
        named = self._approvals.key_of(plan_id)
        return [
            self._approvals.open_command(plan_id, self.default_timeout),
            Decision(request_id=named, actor=Actor.program(), verdict=verdict),
        ]

    def _answer(self, request_id: str, answer: str) -> list[Command]:
        answer = checked_text(answer, "answer", error=InvalidAnswer)
        named = self._clarifications.key_of(request_id)
        return [
            self._clarifications.open_command(request_id, self.default_timeout),
            Answer(request_id=named, actor=Actor.program(), answer=answer),
        ]


class EventRecords:
    """The ids of one kind: commands for them, and the writes that are under way in this process."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.scope = f"events:{kind.value}"
        # What was deleted from the view: the request that each id meant then.
        self._hidden: dict[str, UUID] = {}
        self.forget_all()
        _all.add(self)

    def forget_all(self) -> None:
        self._lock = threading.Lock()
        self._writes: defaultdict[str, list[Future[Result]]] = defaultdict(list)

    def key_of(self, event_id: str) -> Keyed:
        return Keyed(key_scope=self.scope, key=event_id)

    def open_command(self, event_id: str, timeout: float | timedelta, *, anew: bool = False) -> OpenRequest:
        """Ask, or find what was asked; `anew` asks again where that is closed."""
        self._check_id(event_id)
        words = "Approval of plan" if self.kind is Kind.APPROVAL else "Clarification"
        title = f"{words} {event_id}"[:TITLE_LIMIT]
        return OpenRequest(
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
            new_round=anew,
        )

    def submit(self, event_id: str, commands: list[Command]) -> None:
        """Have them written: at once outside of event loops, else soon, whatever becomes of the loop."""
        self.show(event_id)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            for command in commands:
                self._write_now(event_id, command)
            return
        with self._lock:
            writes = queue.submit_many(commands)
            # What failed before and was now said again is of no interest any more.
            self._writes[event_id] = [write for write in self._writes[event_id] if not write.done()] + writes
        for write in writes:
            write.add_done_callback(partial(self._on_write_done, event_id))

    async def awrite(self, event_id: str, commands: list[Command]) -> None:
        await arefuse_inside_a_transaction()
        self.show(event_id)
        for write in queue.submit_many(commands):
            queue.outcome_of_result(await asyncio.wrap_future(write))

    async def outcome(self, event_id: str, timeout: float | timedelta | None) -> Outcome:  # noqa: ASYNC109
        """What the row comes to, once everything that was handed over for it is on record."""
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
        """What is on record now; KeyError where nothing is."""
        try:
            row = queries.request_of_key(self.scope, self._check_id(event_id))
        except InvalidRequest:  # no setter would have taken such an id
            row = None
        if row is None:
            raise KeyError(event_id)
        return queries.outcome_of(row)

    def visible(self, event_id: str) -> Outcome:
        """As `read`; KeyError also where the id is hidden."""
        outcome = self.read(event_id)
        if self._is_hidden(event_id, UUID(outcome.request_id)):
            raise KeyError(event_id)
        return outcome

    def all_visible(self) -> dict[str, UUID]:
        """The request of each id that is not hidden, oldest first."""
        latest = queries.requests_of_keys(self.scope)
        return {event_id: pk for event_id, pk in latest.items() if not self._is_hidden(event_id, pk)}

    def hide(self, ids: Mapping[str, UUID]) -> None:
        """Have these ids missing from the view until they are set here, or asked anew anywhere."""
        self._hidden.update(ids)

    def show(self, event_id: str) -> None:
        self._hidden.pop(event_id, None)

    def _is_hidden(self, event_id: str, request_id: UUID) -> bool:
        return self._hidden.get(event_id) == request_id

    def wait_for_writes(self, event_id: str | None = None) -> None:
        """Return when everything that was handed over for this id, or for all, is on record."""
        for write in self._pending_writes(event_id):
            write.exception()

    def forget(self, event_id: str) -> None:
        with self._lock:
            self._writes.pop(event_id, None)

    def _write_now(self, event_id: str, command: Command) -> None:
        try:
            queue.write(command)
        except (AlreadyDecided, TooLate) as refused:
            self._log_refusal(event_id, refused.code)

    async def _await_writes(self, event_id: str) -> None:
        """Await the record. What failed is raised by every wait that it kept waiting, and by one at least."""
        writes = self._pending_writes(event_id)
        try:
            for write in writes:
                await asyncio.wrap_future(write)
        except Exception:
            self._drop(event_id, writes)
            raise

    def _check_id(self, event_id: str) -> str:
        field = "plan_id" if self.kind is Kind.APPROVAL else "request_id"
        return checked_text(event_id, field, max_length=KEY_LIMIT, required=True, one_line=True)

    def _pending_writes(self, event_id: str | None) -> list[Future[Result]]:
        with self._lock:
            if event_id is None:
                return [write for writes in self._writes.values() for write in writes]
            return list(self._writes.get(event_id, ()))

    def _on_write_done(self, event_id: str, write: Future[Result]) -> None:
        """Forget what is on record; keep what failed for the wait that will ask."""
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
        """Nobody would hear of it otherwise; the trail has it too."""
        logger.warning("result_refused kind=%s id=%s code=%s", self.kind.value, event_id, code)


class EventMapping(MutableMapping[str, V | None], Generic[V]):
    """A dictionary over the rows: what is on record, whichever process put it there.

    Inside an event loop a read keeps that loop waiting for the database; waits are the better way there.
    """

    def __init__(
        self,
        events: EventRecords,
        value: Callable[[Outcome], V | None],
        *,
        ask: Callable[[str], None],
        decide: Callable[[str, V], None],
        forget: Callable[[str], None],
    ) -> None:
        self._events = events
        self._value = value
        self._ask = ask
        self._decide = decide
        self._forget = forget

    def __getitem__(self, event_id: str) -> V | None:
        self._events.wait_for_writes(event_id)
        return self._value(in_database_now(self._events.visible, event_id))

    def __setitem__(self, event_id: str, value: V | None) -> None:
        """Ask where the value is None, else decide; a first result stands."""
        if value is None:
            self._ask(event_id)
        else:
            self._decide(event_id, value)

    def __delitem__(self, event_id: str) -> None:
        """Forget the id, and hide it until it is set again; KeyError where it is not there."""
        self._events.wait_for_writes(event_id)
        self._hide({event_id: UUID(in_database_now(self._events.visible, event_id).request_id)})

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return repr(dict(self.items()))

    def items(self) -> ItemsView[str, V | None]:
        """Of this moment."""
        found = self._all()
        outcomes = in_database_now(queries.outcomes, found.values())
        return {event_id: self._value(outcomes[pk]) for event_id, pk in found.items()}.items()

    def values(self) -> ValuesView[V | None]:
        """Of this moment."""
        return dict(self.items()).values()

    def popitem(self) -> tuple[str, V | None]:
        """The last one first, as dictionaries have it."""
        found = list(self._all())
        if not found:
            raise KeyError("there is none")
        return found[-1], self.pop(found[-1])

    def clear(self) -> None:
        self._hide(self._all())

    def _all(self) -> dict[str, UUID]:
        self._events.wait_for_writes()
        return in_database_now(self._events.all_visible)

    def _hide(self, ids: Mapping[str, UUID]) -> None:
        for event_id in ids:
            self._forget(event_id)
        self._events.hide(ids)


def _patience(request_id: str, timeout: float) -> float | None:
    """`timeout`, where that is over before the request's deadline."""
    left = queries.seconds_left(UUID(request_id))
    return timeout if left is None or timeout < left else None


def _approval_of(outcome: Outcome) -> bool | None:
    return outcome.approved


def _answer_of(outcome: Outcome) -> str | None:
    return None if outcome.answer is None else str(outcome.answer)


_all: WeakSet[EventRecords] = WeakSet()


def _forget() -> None:
    """What the parent has handed over, the parent writes."""
    for events in _all:
        events.forget_all()


forks.register(_forget)

orchestration_config = OrchestrationConfig()
