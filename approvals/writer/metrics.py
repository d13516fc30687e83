"""Counts what a batch opens, closes and refuses, and publishes it for Prometheus after the commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from approvals.domain.commands import Channel, Refused, Result
from approvals.domain.lifecycle import Status
from approvals.models import HumanRequest
from approvals.process import telemetry


class Figures:
    """The counts of one batch. Nothing is published before `publish`: the transaction may still fail."""

    __slots__ = ("_closed", "_lateness", "_opened", "_timeouts")

    def __init__(self) -> None:
        self._opened: Counter[tuple[str, ...]] = Counter()
        self._closed: Counter[tuple[str, ...]] = Counter()
        self._timeouts: Counter[tuple[str, ...]] = Counter()
        self._lateness: list[float] = []

    def count_opened(self, row: HumanRequest) -> None:
        self._opened[(row.kind,)] += 1

    def count_closed(self, status: Status, channel: Channel) -> None:
        self._closed[status.value, channel.value] += 1

    def count_timed_out(self, row: HumanRequest, now: datetime) -> None:
        self._timeouts[(row.on_timeout or "default",)] += 1
        if row.deadline is not None:
            self._lateness.append((now - row.deadline).total_seconds())

    def publish(self, results: Iterable[Result]) -> None:
        """Publish the counts to Prometheus. Call after the commit."""
        telemetry.add_counts(telemetry.opened, self._opened)
        telemetry.add_counts(telemetry.decisions, self._closed)
        telemetry.add_counts(telemetry.timeouts, self._timeouts)
        refused: Counter[tuple[str, ...]] = Counter(
            (result.code,) for result in results if isinstance(result, Refused)
        )
        telemetry.add_counts(telemetry.refusals, refused)
        for seconds in self._lateness:
            telemetry.lateness.observe(seconds)
