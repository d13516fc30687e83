"""Which tables are created in which database."""

from __future__ import annotations

from typing import Any

from django.db import connections


class QueueOnPostgreSQL:
    """Keeps the job queue's migrations to PostgreSQL."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        if app_label == "procrastinate" and connections[db].vendor != "postgresql":
            return False
        return None
