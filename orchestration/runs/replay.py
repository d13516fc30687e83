"""A run's record in memory: which call is which, and does it match what was recorded?

Calls without a key of their own are numbered in the order in which they begin. That order must be the same in
every execution, so two of them at once are refused, as is a call that differs from the one on record. After
such a refusal the run is over: whatever else it tries is refused with the same error, even if it was caught.
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

from approvals.domain.payloads import checked_text
from approvals.domain.questions import MARK
from orchestration.exceptions import Fenced, NeedsKey, OrchestrationError, ReplayMismatch
from orchestration.models import StepRecord, StepStatus
from orchestration.runs.journal import Call

KEY_LIMIT = 150
# Calls whose content is what it always was.
UNCHANGED: Any = object()
NO_TIME = datetime.timedelta(0)
# Values whose text says all there is to say.
PLAIN = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID, PurePath)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A call as the record has it."""

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
    """What a run has recorded so far, by key and by number."""

    def __init__(self, rows: Iterable[StepRecord]) -> None:
        self._by_key = {row.key: _record_of(row) for row in rows}
        self._by_position = {
            each.call.position: each for each in self._by_key.values() if each.call.position is not None
        }
        # Steps of a way that the resumed run may not take again; see resumption.py. No key is in their print.
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
        """One call, from beginning to end; `content` is what it must have in common with the record.

        `former` is what that was before questions had all their meaning in it; what was recorded then goes on
        being compared by it.
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
        """A call that belongs to another one under way: found by that one's key, it needs no number."""
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
        """The number of the first call within this one that is not over."""
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

    def of(self, call: Call) -> Recorded | None:
        return self._by_key.get(call.key)

    def begin_count(self, call: Call) -> int:
        """How often calls with its key have begun in this execution."""
        return self._begun[call.key]

    def cancelled_waits(self, call: Call) -> int:
        """How many of these, the first ones, had their waits cancelled, as the record has it."""
        recorded = self.of(call)
        return 0 if recorded is None else recorded.cancelled_waits

    def was_cancelled(self, call: Call) -> bool:
        """Whether this call is one of those."""
        return self.begin_count(call) <= self.cancelled_waits(call)

    def remember(self, call: Call, status: StepStatus, **values: Any) -> None:
        """Keep what was just recorded: a key that is used again finds it."""
        former = self.of(call)
        if former is not None:
            values = {"cancelled_waits": former.cancelled_waits, "due_at": former.due_at, **values}
        self._by_key[call.key] = Recorded(call=call, status=status, **values)

    def check(self) -> None:
        """Raise if the run is over here: the error that ended it, or CancelledError where it is cancelled or
        goes on elsewhere, which is nothing for its code to handle."""
        if isinstance(self.over, Fenced):
            raise asyncio.CancelledError(self.over.detail)
        if self.over is not None:
            raise self.over.with_traceback(None)  # it would grow with each time

    def end(self, error: OrchestrationError) -> Never:
        """Refuse this and everything after it."""
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
        checked_text(key, "key", max_length=KEY_LIMIT, required=True, one_line=True)
        if key in self._in_flight:
            self.end(NeedsKey(f"Two calls with the key {key!r} at once: each needs a key of its own."))
        call = Call(key=key, position=None, kind=kind, name=name, fingerprint=prints[0])
        return self._match(call, None, prints)

    def _match(self, call: Call, recorded: Recorded | None, same: Container[str]) -> Call:
        """The call, counted on from its record; `same` are the fingerprints that this may have."""
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
        """The first step like this one that was set aside, each once."""
        for each in self._aside:
            if each.call.fingerprint in prints:
                self._aside.remove(each)
                return each
        return None


def _fingerprints(kind: str, name: str, key: str | None, content: object, former: object) -> tuple[str, ...]:
    """What the call hashes to now, and what a record of the same call may say else."""
    now = fingerprint(kind, name, key, content)
    if former is UNCHANGED:
        return (now,)
    # Marked, so that neither is ever taken for the other.
    marked = MARK + urlsafe_b64encode(bytes.fromhex(now)).decode().rstrip("=")
    return marked, fingerprint(kind, name, key, former)


def fingerprint(kind: str, name: str, key: str | None, content: object) -> str:
    """Equal calls have equal fingerprints, in every process and after every restart."""
    text = json.dumps([kind, name, key, plain(content)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: object) -> Any:
    """The value as JSON; of what has no text of its own, only the type."""
    if value is None or isinstance(value, str | bool | int | float):
        return value.value if isinstance(value, enum.Enum) else value
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, PLAIN):
        return str(value)
    return f"<{type(value).__module__}.{type(value).__qualname__}>"


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
    """A numbered step that has lost its number; one with a key has that in its fingerprint."""
    return recorded.call.kind == "step" and recorded.call.position is None


def _describe(kind: str, name: str) -> str:
    return f"{kind} {name!r}"
