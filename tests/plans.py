"""How a database would run a query, whatever earlier tests have left in its statistics and indexes."""

from __future__ import annotations

from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet

from tests.in_process import as_superuser


def plan_of(rows: QuerySet[Any], *off: str) -> str:
    """The plan as the database tells it; on PostgreSQL without these ways, such as "seqscan" or "sort".

    PostgreSQL would read and sort a small table as a whole, and takes rows, sizes of indexes and statistics
    into account, which are those of a test run: so they are made anew of what is there.
    """
    if connection.vendor == "postgresql":
        anew({table.table_name for table in rows.query.alias_map.values()} or {rows.model._meta.db_table})
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            for way in off:
                cursor.execute(f"SET LOCAL enable_{way} = off")
        return rows.explain()


def anew(tables: set[str]) -> None:
    """Write these tables and their indexes anew, without what was deleted, and count what is there.

    ANALYZE alone would leave the statistics of columns as they are where a table is empty.
    """
    with as_superuser(), connection.cursor() as cursor:
        cursor.execute("SELECT usesuper FROM pg_user WHERE usename = current_user")
        (superuser,) = cursor.fetchone()
        for table in sorted(tables):
            if superuser:
                cursor.execute("DELETE FROM pg_statistic WHERE starelid = %s::regclass", [table])
            cursor.execute(f"VACUUM (FULL, ANALYZE) {connection.ops.quote_name(table)}")
