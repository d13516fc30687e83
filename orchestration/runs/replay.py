"""Match the calls of a run, when it goes on after a crash, with its record; refuse those that differ from it.

Calls without a key of their own are numbered in the order in which they begin. That order must be the same in
every execution, so two of them at once are refused, as is a call that differs from the recorded one. After
such a refusal the run is over: all further calls raise the same error, even if the code caught it.
Which process takes up a run after a crash: engines/local.py and engines/procrastinate.py.
"""

from __future__ import annotations

import asyncio
import datetime
import decimal
import enum
import hashlib
import json
import uuid
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import PurePath
from typing import Any, Never

from approvals.domain.payloads import check_text
from approvals.domain.questions import MARK
from orchestration.exceptions import Fenced, NeedsKey, OrchestrationError, ReplayMismatch
from orchestration.models import StepRecord, StepStatus
from orchestration.runs.call_records import Call

KEY_LIMIT = 150
# For calls whose content was always recorded in the same way.
UNCHANGED: Any = object()
NO_TIME = datetime.timedelta(0)
# Types of values that are told apart by their text.
PLAIN = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID, PurePath)


# Names under which objects of these types were recorded first: a fingerprint that is on record has that name.
RECORDED_NAMES = {
    "approvals.domain.commands.Actor": "approvals.commands.Actor",
    "approvals.domain.commands.Decision": "approvals.deciding.Decision",
    "approvals.domain.lifecycle.Outcome": "approvals.lifecycle.Outcome",
    "approvals.domain.questions._Reviewers": "approvals.questions._Reviewers",
    "orchestration.agents.proxy_agent.ProxyAgent": "orchestration.proxy_agent.ProxyAgent",
    "orchestration.catalog.entries.Orchestration": "orchestration.catalog.Orchestration",
    "orchestration.catalog.entries.RegisteredAgent": "orchestration.catalog.RegisteredAgent",
    "orchestration.catalog.isolation.Exited": "orchestration.containment.Exited",
    "orchestration.events.config.OrchestrationConfig": "orchestration.events.OrchestrationConfig",
    "orchestration.events.mapping.EventMapping": "orchestration.events._View",
    "orchestration.policies.deciders._Owner": "orchestration.deciders._Owner",
    "orchestration.ready_made.approval_manager.HumanApprovalManager": (
        "orchestration.approval_manager.HumanApprovalManager"
    ),
    "orchestration.runs.messages.MessageWriter": "orchestration.speech.Speech",
    "orchestration.runs.manual_resumption.Resumption": "orchestration.resumption.Resumption",
    "orchestration.runs.run.Run": "orchestration.runs.Run",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A call that is on record. `waited`: how long a wait lasted until it was cancelled."""

    call: Call
    status: str
    request_id: uuid.UUID | None = None
    result: Any = None
    error: str = ""
    cancelled_waits: int = 0
    waited: datetime.timedelta = NO_TIME
    due_at: datetime.datetime | None = None

    @property
    def finished(self) -> bool:
        return self.status in (StepStatus.DONE, StepStatus.FAILED)


class Replay:
    """The calls that a run has recorded so far, by key and by number."""

    def __init__(self, rows: Iterable[StepRecord]) -> None:
        self._by_key = {row.key: _record_of(row) for row in rows}
        self._by_position = {
            each.call.position: each for each in self._by_key.values() if each.call.position is not None
        }
        # Steps that a resumed run may not reach in the same order. Found by fingerprint.
        self._aside = [each for each in self._by_key.values() if _is_set_aside(each)]
        self._position = 0
        self._in_flight: set[str] = set()
        # How often each key was used in this execution.
        self._begun: Counter[str] = Counter()
        self._numbered: Call | None = None
        self.over: OrchestrationError | None = None

    @contextmanager
    def calling(
        self, kind: str, name: str, key: str | None, content: object, *, former: object = UNCHANGED
    ) -> Iterator[Call]:
        """Identify a call, from its beginning to its end; `content` must be the same as on record.

        `former` is the content by which older records have the same call, from before a question's content
        held all of its meaning.
        """
        self.check()
        prints = _fingerprints(kind, name, key, content, former)
        if key is None:
            call = self._numbered_call(kind, name, prints)
        else:
            call = self._keyed_call(kind, name, key, prints)
        with self._under_way(call):
            yield call

    @contextmanager
    def within(self, outer: Call, kind: str, number: int) -> Iterator[Call]:
        """Identify a call that belongs to another one, by that one's key and a number within it."""
        self.check()
        call = Call(
            key=f"{outer.key}/{kind}/{number}",
            position=None,
            kind=kind,
            name=outer.name,
            fingerprint=fingerprint(kind, outer.name, outer.key, number),
        )
        with self._under_way(call := self._match(call, None, (call.fingerprint,))):
            yield call

    def next_within(self, outer: Call, kind: str) -> int:
        """Return the number of the first call within `outer` that is not over."""
        for number in count(1):
            recorded = self._by_key.get(f"{outer.key}/{kind}/{number}")
            if recorded is None or not recorded.finished:
                return number
        raise AssertionError

    @contextmanager
    def _under_way(self, call: Call) -> Iterator[None]:
        self._in_flight.add(call.key)
        self._begun[call.key] += 1
        try:
            yield
        finally:
            self._in_flight.discard(call.key)
            if self._numbered is call:
                self._numbered = None

    def find(self, call: Call) -> Recorded | None:
        """Return what is on record under the call's key."""
        return self._by_key.get(call.key)

    def begin_count(self, call: Call) -> int:
        """Return how often calls with this key have begun in this execution."""
        return self._begun[call.key]

    def cancelled_waits(self, call: Call) -> int:
        """Return how many waits under this key, the first ones, were cancelled, according to the record."""
        recorded = self.find(call)
        return 0 if recorded is None else recorded.cancelled_waits

    def was_cancelled(self, call: Call) -> bool:
        """Tell whether the wait of this call was cancelled, according to the record."""
        return self.begin_count(call) <= self.cancelled_waits(call)

    def remember(self, call: Call, status: StepStatus, **values: Any) -> None:
        """Keep what was just recorded, for a later call with the same key."""
        former = self.find(call)
        if former is not None:
            kept = ("cancelled_waits", "due_at", "result")
            values = {name: getattr(former, name) for name in kept} | values
        self._by_key[call.key] = Recorded(call=call, status=status, **values)

    def check(self) -> None:
        """Raise the error that ended the run, if it is over here.

        CancelledError where it was cancelled or goes on elsewhere: its code can't handle that.
        """
        if isinstance(self.over, Fenced):
            raise asyncio.CancelledError(self.over.detail)
        if self.over is not None:
            raise self.over.with_traceback(None)  # else it would grow each time

    def end(self, error: OrchestrationError) -> Never:
        """End the run here: refuse this call and all after it with this error."""
        if self.over is None:
            self.over = error
        raise error

    def _numbered_call(self, kind: str, name: str, prints: tuple[str, ...]) -> Call:
        if self._numbered is not None:
            first = self._numbered
            self.end(
                NeedsKey(
                    f"{_describe(kind, name)} began while {_describe(first.kind, first.name)} was under way."
                    " Calls made at the same time, or within a step, each need a key of their own: key=…"
                )
            )
        self._position += 1
        word = name if kind == "step" else kind
        call = Call(
            key=f"{word}#{self._position}",
            position=self._position,
            kind=kind,
            name=name,
            fingerprint=prints[0],
        )
        recorded = self._by_position.get(self._position) or self._take_set_aside(prints)
        self._numbered = call = self._match(call, recorded, prints)
        return call

    def _keyed_call(self, kind: str, name: str, key: str, prints: tuple[str, ...]) -> Call:
        check_text(key, "key", max_length=KEY_LIMIT, required=True, one_line=True)
        if key in self._in_flight:
            self.end(NeedsKey(f"Two calls with the key {key!r} at once: each needs a key of its own."))
        call = Call(key=key, position=None, kind=kind, name=name, fingerprint=prints[0])
        return self._match(call, None, prints)

    def _match(self, call: Call, recorded: Recorded | None, same: Container[str]) -> Call:
        """Return the call with its next attempt; ReplayMismatch where its record has another fingerprint."""
        recorded = recorded or self._by_key.get(call.key)
        if recorded is None:
            return call
        if recorded.call.fingerprint not in same:
            before = _describe(recorded.call.kind, recorded.call.name)
            self.end(
                ReplayMismatch(
                    f"At {recorded.call.key!r} the run had recorded {before}, and now met"
                    f" {_describe(call.kind, call.name)} or other arguments. Its code has changed, or depends"
                    " on something that is not recorded; nothing was done twice."
                )
            )
        return replace(
            call,
            key=recorded.call.key,
            position=recorded.call.position,
            attempt=recorded.call.attempt + 1,
        )

    def _take_set_aside(self, prints: Container[str]) -> Recorded | None:
        """Take the first of the steps set aside that has one of these fingerprints."""
        for each in self._aside:
            if each.call.fingerprint in prints:
                self._aside.remove(each)
                return each
        return None


def _fingerprints(kind: str, name: str, key: str | None, content: object, former: object) -> tuple[str, ...]:
    """Return the call's fingerprint, and those that older records of the same call have."""
    now = fingerprint(kind, name, key, content)
    if former is UNCHANGED:
        return (now,)
    # With a mark, so that no old fingerprint equals a new one.
    marked = MARK + urlsafe_b64encode(bytes.fromhex(now)).decode().rstrip("=")
    return marked, fingerprint(kind, name, key, former)


def fingerprint(kind: str, name: str, key: str | None, content: object) -> str:
    """Return a hash that is the same for equal calls, in every process and after every restart."""
    text = json.dumps([kind, name, key, plain(content)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: object) -> Any:
    """Return the value as JSON; an object of any other type only as its type's name."""
    if value is None or isinstance(value, str | bool | int | float):
        return value.value if isinstance(value, enum.Enum) else value
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, PLAIN):
        return str(value)
    module = type(value).__module__
    if module.startswith("approvals.models."):
        module = "approvals.models"  # which was one module
    name = f"{module}.{type(value).__qualname__}"
    return f"<{RECORDED_NAMES.get(name, name)}>"


def _record_of(row: StepRecord) -> Recorded:
    call = Call(
        key=row.key,
        position=row.position,
        kind=row.kind,
        name=row.name,
        fingerprint=row.fingerprint,
        attempt=row.attempts,
    )
    return Recorded(
        call=call,
        status=row.status,
        request_id=row.request_id,
        result=row.result,
        error=row.error,
        cancelled_waits=row.cancelled_waits,
        waited=(row.cancelled_at or row.started_at) - row.started_at if row.cancelled_waits else NO_TIME,
        due_at=row.due_at,
    )


def _is_set_aside(recorded: Recorded) -> bool:
    """Tell whether a step has no number, because it was set aside or has a key of its own.

    The key is part of a fingerprint, so a numbered call never finds a step that has one.
    """
    return recorded.call.kind == "step" and recorded.call.position is None


def _describe(kind: str, name: str) -> str:
    return f"{kind} {name!r}"
