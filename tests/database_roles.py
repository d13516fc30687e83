"""The roles of docs/deployment.md in PostgreSQL: its SQL, taken out of that page as it stands there."""

from __future__ import annotations

import re
from typing import Any

import psycopg

from tests.processes import PROJECT

# Who serves, decides and works; who removes content; whose the cluster is.
APPLICATION, KEEPER, SUPERUSER = "sayso_app", "sayso_keeper", "sayso"

PAGE = (PROJECT / "docs" / "deployment.md").read_text()


def statements(block: str) -> list[Any]:
    """Those of the SQL that follows this mark on the page."""
    found = re.search(rf"<!-- {block} -->\n```sql\n(.*?)```", PAGE, re.DOTALL)
    assert found, f"the page has no block {block!r}"
    text = "\n".join(line for line in found.group(1).splitlines() if not line.startswith("--"))
    return [statement for part in text.split(";") if (statement := part.strip())]


def url_as(role: str, url: str) -> str:
    """The same database, as another role; a server that isn't ours has none."""
    for known in (APPLICATION, KEEPER, SUPERUSER):
        url = url.replace(f"//{known}@", f"//{role}@")
    return url


def restrain(url: str) -> None:
    """Give the application what the page gives it in this database, and nothing else."""
    with psycopg.connect(url, autocommit=True) as connection:
        if not _there(connection):
            for statement in statements("roles"):
                if statement.startswith("CREATE ROLE"):
                    connection.execute(statement)
        for statement in statements("privileges"):
            connection.execute(statement)


def _there(connection: psycopg.Connection) -> bool:
    return bool(connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [APPLICATION]).fetchall())
