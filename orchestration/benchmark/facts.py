"""The role that tells what the measured installation is made of: versions and settings."""

from __future__ import annotations

from typing import Any

import redis
from django.conf import settings
from django.db import connection

from approvals.conf import approval_settings
from approvals.database.threads import in_database
from orchestration.benchmark.roles import Role

_OF_POSTGRES = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_connections")


class Witness(Role):
    async def versions(self) -> dict[str, str]:
        found = {connection.vendor: await in_database(_database_version)}
        if settings.REDIS_URL:
            with redis.Redis.from_url(settings.REDIS_URL) as client:
                found["redis server"] = client.info("server")["redis_version"]
        return found

    async def settings(self) -> dict[str, Any]:
        approvals = approval_settings()
        return {
            "database": await in_database(_database_settings),
            "database_threads": approvals.database_threads,
            "recheck_interval": approvals.recheck_interval,
            "full_reread_interval": approvals.full_reread_interval,
            "writer_batch": approvals.writer_batch,
            "writer_queue": approvals.writer_queue,
            "channel_layer": settings.CHANNEL_LAYERS["default"]["BACKEND"],
        }


def _database_version() -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SHOW server_version" if connection.vendor == "postgresql" else "SELECT sqlite_version()"
        )
        return str(cursor.fetchone()[0])


def _database_settings() -> dict[str, str]:
    names = _OF_POSTGRES if connection.vendor == "postgresql" else ("journal_mode", "synchronous")
    statement = "SHOW {}" if connection.vendor == "postgresql" else "PRAGMA {}"
    found = {}
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(statement.format(name))
            found[name] = str(cursor.fetchone()[0])
    return found
