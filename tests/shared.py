"""What the tests of one module share: a server that lives on between them, and one Chromium.

In a folder whose conftest.py takes the fixtures from here, a module shares its server by
`usefixtures("shared_server")`; who kills or restarts a server starts one of its own.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright, expect
from pytest_django import DjangoDbBlocker

from tests import in_process
from tests.conftest import CHROMIUM_OPTIONS, Serve
from tests.patience import patience
from tests.processes import Process, Server, bare_environment
from tests.stacks import SqliteDatabase, Stack

# Not of tests: a server that lives has its lease there.
LIVING_TABLES = ("orchestration_process",)


class LivingDatabase(SqliteDatabase):
    """A copy of a SQLite database that becomes as new by its rows: its file stays, for a server is on it."""

    def __init__(self, original: SqliteDatabase, directory: Path) -> None:
        super().__init__(directory)
        original.copy(directory)
        self.migrated()

    def clean(self) -> None:
        """In one transaction, past the triggers that protect the trail. Ids are not used again."""
        with closing(sqlite3.connect(self._file, timeout=patience(), isolation_level=None)) as connection:
            connection.execute("ATTACH DATABASE ? AS migrated", [str(self._migrated)])
            connection.execute("BEGIN IMMEDIATE")
            for name in _of_type(connection, "main", "trigger"):
                connection.execute(f'DROP TRIGGER "{name}"')
            for table in _of_type(connection, "main", "table").keys() - LIVING_TABLES:
                connection.execute(f'DELETE FROM main."{table}"')
                connection.execute(f'INSERT INTO main."{table}" SELECT * FROM migrated."{table}"')
            for statement in _of_type(connection, "migrated", "trigger").values():
                connection.execute(statement)
            connection.execute("COMMIT")

    def remove(self) -> None:
        """With its directory, which is pytest's."""


def _of_type(connection: sqlite3.Connection, database: str, kind: str) -> dict[str, str]:
    """Names and definitions of the tables or triggers that are ours."""
    found = connection.execute(
        f"SELECT name, sql FROM {database}.sqlite_master"
        " WHERE type = ? AND name NOT LIKE 'sqlite!_%' ESCAPE '!'",
        [kind],
    )
    return dict(found.fetchall())


@pytest.fixture(scope="module")
def shared_server(
    request: pytest.FixtureRequest,
    stack: Stack,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Server | None]:
    """A server for all tests of the module that run on SQLite; they, too, have the database that it has.

    A module's SERVER_ENVIRONMENT is added to its environment. None on PostgreSQL, where few tests of such
    modules run: each has a server of its own.
    """
    original = stack.database
    if not isinstance(original, SqliteDatabase):
        yield None
        return
    stack.database = LivingDatabase(original, tmp_path_factory.mktemp("shared"))
    with django_db_blocker.unblock():
        in_process.join(stack)
    more: dict[str, str] = getattr(request.module, "SERVER_ENVIRONMENT", {})
    with Server(environment=stack.environment | more) as server:
        yield server.ready()
    stack.database = original
    with django_db_blocker.unblock():
        in_process.join(stack)


@pytest.fixture
def server(request: pytest.FixtureRequest, serve: Serve) -> Server:
    """The module's server where it shares one, else one of the test's own."""
    shared: Server | None = None
    if "shared_server" in request.fixturenames:
        shared = request.getfixturevalue("shared_server")
    return shared or serve()


@pytest.fixture(scope="module")
def shared_chromium(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One Chromium for all tests of the module; the address by which each connects to it."""
    profile = tmp_path_factory.mktemp("chromium")
    command = [chromium, "--headless", *CHROMIUM_OPTIONS, *_AS_PLAYWRIGHT, f"--user-data-dir={profile}"]
    with Process(command, environment=bare_environment(), name="chromium") as process:
        printed = process.output.wait_for("DevTools listening on ")
        address = re.search(r"DevTools listening on (ws://\S+)", printed)
        assert address
        yield address[1]
        process.terminate()


# What Playwright gives a Chromium that it starts, as far as pages can tell.
_AS_PLAYWRIGHT = [
    "--no-startup-window",
    "--remote-debugging-port=0",
    "--hide-scrollbars",
    "--mute-audio",
    "--force-color-profile=srgb",
    "--disable-dev-shm-usage",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-breakpad",
    "--no-default-browser-check",
    "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4",
]


@pytest.fixture
async def browser(shared_chromium: str) -> AsyncIterator[Browser]:
    """The module's Chromium; Playwright's objects belong to the test's event loop, contexts to the test."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(shared_chromium)
        expect.set_options(timeout=1000 * patience())
        yield browser
        for context in browser.contexts[1:]:
            await context.close()
        await browser.close()
