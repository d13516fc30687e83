"""Counts what a batch opens, closes and refuses, and publishes it for Prometheus after the commit."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from prometheus_client import Counter

from approvals.domain.commands import Channel, Refused, Result
from approvals.domain.lifecycle import Status
from approvals.models import HumanRequest
from approvals.process import telemetry


class Figures:
    """The counts of one batch. Nothing is published before `publish`: the transaction may still fail."""

    __slots__ = ("_counts", "_lateness")

    def __init__(self) -> None:
        self._counts: dict[tuple[Counter, tuple[str, ...]], int] = {}
        self._lateness: list[float] = []

    def count_opened(self, row: HumanRequest) -> None:
        self._count(telemetry.opened, row.kind)

    def count_closed(self, status: Status, channel: Channel) -> None:
        self._count(telemetry.decisions, status.value, channel.value)

    def count_timed_out(self, row: HumanRequest, now: datetime) -> None:
        self._count(telemetry.timeouts, row.on_timeout or "default")
        if row.deadline is not None:
            self._lateness.append((now - row.deadline).total_seconds())

    def publish(self, results: Iterable[Result]) -> None:
        """Publish the counts to Prometheus. Call after the commit."""
        for result in results:
            if isinstance(result, Refused):
                self._count(telemetry.refusals, result.code)
        for (counter, labels), number in self._counts.items():
            counter.labels(*labels).inc(number)
        for seconds in self._lateness:
            telemetry.lateness.observe(seconds)

    def _count(self, counter: Counter, *labels: str) -> None:
        self._counts[counter, labels] = self._counts.get((counter, labels), 0) + 1
