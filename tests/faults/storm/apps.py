"""The storm as an app: a short one has short claims, as it has short leases and a short re-check."""

from __future__ import annotations

from datetime import timedelta

from django.apps import AppConfig
from django.conf import settings


class StormConfig(AppConfig):
    name = "tests.faults.storm"

    def ready(self) -> None:
        if settings.STORM_CLAIM is not None:  # type: ignore[misc]  # the storm's own
            from approvals.writer import outboxes, watches

            outboxes.CLAIM = watches.CLAIM = timedelta(seconds=settings.STORM_CLAIM)  # type: ignore[misc]
