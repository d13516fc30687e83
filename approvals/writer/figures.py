"""What a batch comes to in numbers. Told when it is committed: until then it may yet not have happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from approvals.domain.commands import Channel, Refused, Result
from approvals.domain.lifecycle import Status
from approvals.models import HumanRequest
from approvals.process import telemetry


class Figures:
    """Counts what the deeds do to rows in memory."""

    __slots__ = ("_closed", "_lateness", "_opened", "_timeouts")

    def __init__(self) -> None:
        self._opened: Counter[tuple[str, ...]] = Counter()
        self._closed: Counter[tuple[str, ...]] = Counter()
        self._timeouts: Counter[tuple[str, ...]] = Counter()
        self._lateness: list[float] = []

    def opened(self, row: HumanRequest) -> None:
        self._opened[(row.kind,)] += 1

    def closed(self, status: Status, channel: Channel) -> None:
        self._closed[status.value, channel.value] += 1

    def timed_out(self, row: HumanRequest, now: datetime) -> None:
        self._timeouts[(row.on_timeout or "default",)] += 1
        if row.deadline is not None:
            self._lateness.append((now - row.deadline).total_seconds())

    def tell(self, results: Iterable[Result]) -> None:
        """It has happened."""
        telemetry.add_counts(telemetry.opened, self._opened)
        telemetry.add_counts(telemetry.decisions, self._closed)
        telemetry.add_counts(telemetry.timeouts, self._timeouts)
        refused: Counter[tuple[str, ...]] = Counter(
            (result.code,) for result in results if isinstance(result, Refused)
        )
        telemetry.add_counts(telemetry.refusals, refused)
        for seconds in self._lateness:
            telemetry.lateness.observe(seconds)
