"""Which tables belong into which database."""

from __future__ import annotations

from typing import Any

from django.db import connections


class QueueOnPostgreSQL:
    """The job queue's tables and functions exist on PostgreSQL only."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        if app_label == "procrastinate" and connections[db].vendor != "postgresql":
            return False
        return None
