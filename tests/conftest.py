"""What every test stands on: the stack under test, an empty database, real processes, a real browser.

A test that uses the database runs on `sqlite-memory` and `postgresql-redis`; marked `every_stack` on all four
combinations, marked `one_stack` on the first only, marked `stacks("…")` on those named. Database tests are
always transactional: the writer and the database threads have connections of their own. Tests of runs (that
use `runtime`) run on `postgresql-redis-workers`, too, where the job queue dispatches. Tests are grouped by
stack, and the swap is made in place, so product code sees nothing but 'default'.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeVar

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect
from pytest_django import DjangoDbBlocker

from tests import effort, in_process, processes  # noqa: F401  how long hypothesis searches
from tests.database_roles import KEEPER
from tests.processes import Process, Server
from tests.servers import ForeignServer, PostgresServer, RedisServer, postgres_server, redis_server
from tests.stacks import STACKS, WITH_WORKERS, Database, PostgresDatabase, SqliteDatabase, Stack

pytest_plugins = ["tests.sharing", "tests.selection"]

D = TypeVar("D", bound=Database)

CommonFile = Callable[[str], AbstractContextManager[Path]]

BOTH_DATABASES = ("sqlite-memory", "postgresql-redis")
DATABASE_FIXTURES = {"db", "transactional_db", "stack"}

# Threads that belong to the session, not to a test: psycopg's pool, asgiref's executors, and those of CrewAI.
LASTING_THREADS = ("pool-", "ThreadPoolExecutor-", "CrewAI", "LanceDB")


# --- Which tests run on which stacks ---


def pytest_configure() -> None:
    """Put right what the processes of the run would inherit.

    A shell that runs tests in the background has SIGINT ignored, and `nohup` SIGHUP. Many containers forbid
    Python to keep what it compiled; each of hundreds of processes would then compile the whole project again.
    On Python 3.11 a logged traceback with carets, which an `ast` finds, can fail the `ast` of pytest's report
    in another thread, and so end a worker without the name of the test.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    os.environ["PYTHONNODEBUGRANGES"] = "1"
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)  # still without effect, but here only


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if stacks := _stacks_for(metafunc):
        if "stack" not in metafunc.fixturenames:
            metafunc.fixturenames.insert(0, "stack")
        metafunc.parametrize("stack", stacks, indirect=True, scope="session")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect tests without the garbage collector, which would take a sixth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The loop of a coroutine test ends before threads are counted: its default executor has some."""
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("asyncio"):
            names = item.fixturenames
            names.insert(names.index("nothing_left_behind") + 1, "nothing_left_running")


def pytest_collection_finish() -> None:
    """Thousands of tests, and Django, live until the end: to look through them again and again would take the
    collector an eighth of all the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _stacks_for(metafunc: pytest.Metafunc) -> tuple[str, ...]:
    marked = metafunc.definition.get_closest_marker
    names = set(metafunc.fixturenames)
    if not (marked("django_db") or names & DATABASE_FIXTURES):
        return ()
    if named := marked("stacks"):
        return tuple(named.args)
    if marked("every_stack"):
        return STACKS
    if marked("one_stack"):
        return BOTH_DATABASES[:1]
    if "private_postgres" in names:
        return ("postgresql-redis",)
    if "private_redis" in names:
        return ("sqlite-redis", "postgresql-redis")
    if "runtime" in names:
        return (*BOTH_DATABASES, WITH_WORKERS)
    return BOTH_DATABASES


# --- The stack ---


class Servers:
    """The session's servers and databases, each started when the first test needs it."""

    def __init__(self, worker: str, common_file: CommonFile) -> None:
        self._worker = worker
        self._common_file = common_file
        self._ending = ExitStack()

    @cached_property
    def redis(self) -> RedisServer | ForeignServer:
        server = redis_server()
        self._ending.callback(server.remove)
        return server

    @cached_property
    def postgres(self) -> PostgresServer | ForeignServer:
        server = postgres_server()
        self._ending.callback(server.remove)
        return server

    @cached_property
    def breakable_postgres(self) -> tuple[PostgresServer, PostgresDatabase]:
        server = PostgresServer()
        server.start()
        self._ending.callback(server.remove)
        database = self._migrated(PostgresDatabase(server, "private"))
        self._ending.callback(server.mend)  # before the database is removed
        return server, database

    @cached_property
    def sqlite_database(self) -> SqliteDatabase:
        return self._migrated(SqliteDatabase())

    @cached_property
    def postgresql_database(self) -> PostgresDatabase:
        return self._migrated(PostgresDatabase(self.postgres, f"test_sayso_{self._worker}"))

    def database(self, engine: str) -> Database:
        return self.sqlite_database if engine == "sqlite" else self.postgresql_database

    def close(self) -> None:
        self._ending.close()

    def _migrated(self, database: D) -> D:
        """The first worker migrates, which takes seconds; the others take what it made."""
        self._ending.callback(database.remove)
        with self._common_file(f"migrated-{type(database).__name__}") as kept:
            if kept.exists():
                database.take(kept)
                database.migrated()
            else:
                in_process.migrate(database)
                database.keep(kept)
        return database


@pytest.fixture(scope="session")
def servers(
    request: pytest.FixtureRequest, django_test_environment: None, common_file: CommonFile
) -> Iterator[Servers]:
    worker = getattr(request.config, "workerinput", {}).get("workerid", "main")
    servers = Servers(worker, common_file)
    yield servers
    servers.close()


@pytest.fixture(scope="session")
def stack(
    request: pytest.FixtureRequest, servers: Servers, django_db_blocker: DjangoDbBlocker
) -> Iterator[Stack]:
    """The database and layer this test runs on. Requesting it is enough to use the database."""
    engine, layer, *_ = request.param.split("-")
    with django_db_blocker.unblock():
        database = servers.database(engine)
        stack = Stack(request.param, database, servers.redis if layer == "redis" else None)
        in_process.join(stack)
    yield stack
    with django_db_blocker.unblock():
        in_process.leave()


@pytest.fixture
def _django_db_helper(stack: Stack, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """What pytest-django's mark and fixtures stand on: here an empty database for every thread."""
    with django_db_blocker.unblock():
        yield
        in_process.close_parts()
        if stack.engine == "postgresql":  # a database of SQLite is put back as a whole
            in_process.protect_the_record()
        stack.database.clean()
        assert in_process.all_connections_came_back(), "a thread ended without closing its connection"


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test gets process-wide parts of its own and must end every thread that it started."""
    if "stack" in request.fixturenames:
        request.getfixturevalue("_django_db_helper")
    before = set(threading.enumerate())
    yield
    in_process.close_parts()
    started = [thread for thread in threading.enumerate() if thread not in before]
    left = [thread for thread in started if not thread.name.startswith(LASTING_THREADS)]
    for thread in left:
        thread.join(30)
    assert not [thread for thread in left if thread.is_alive()], "threads were left running"


@pytest.fixture
async def nothing_left_running() -> AsyncIterator[None]:
    """For every coroutine test: the tasks it started must have ended when it ends."""
    before = asyncio.all_tasks()
    yield
    left = {task for task in asyncio.all_tasks() - before if _belongs_to_the_test(task)}
    if left:
        await asyncio.wait(left, timeout=30)
    assert not [task for task in left if not task.done()], "tasks were left running"


def _belongs_to_the_test(task: asyncio.Task[object]) -> bool:
    """All but the task that asks, and the Redis layer's receiver, which ends with its loop."""
    receiver = "RedisSingleShardConnection._do_receiving"
    return task is not asyncio.current_task() and getattr(task.get_coro(), "__qualname__", "") != receiver


@pytest.fixture
def as_keeper(stack: Stack) -> Iterator[None]:
    """This process, and those it starts, may remove content: on PostgreSQL the application may not."""
    with in_process.acting_as(KEEPER, stack):
        yield


# --- Servers to break ---


@pytest.fixture
def private_redis(stack: Stack) -> Iterator[RedisServer]:
    """A Redis of this test's own, under the stack's layer: stop, start, freeze, thaw or flush it."""
    with RedisServer() as server, _private(stack, redis=server):
        yield server


@pytest.fixture
def private_postgres(stack: Stack, servers: Servers) -> Iterator[PostgresServer]:
    """A PostgreSQL under the stack that is this test's alone, for now: to stop, start, freeze, or rid of
    sessions. The next test that breaks one mends it, when the processes of this one have ended."""
    server, database = servers.breakable_postgres
    server.mend()
    database.clean()
    with _private(stack, database=database):
        yield server


@contextmanager
def _private(
    stack: Stack, *, database: Database | None = None, redis: RedisServer | None = None
) -> Iterator[None]:
    shared = (stack.database, stack.redis)
    stack.database, stack.redis = database or stack.database, redis or stack.redis
    in_process.join(stack)
    try:
        yield
        in_process.close_parts()
    finally:
        stack.database, stack.redis = shared
        in_process.join(stack)


# --- Processes ---


class Manage(Protocol):
    def __call__(
        self, *arguments: str | Path, environment: Mapping[str, str] | None = None, anew: bool = False
    ) -> Process: ...


class Serve(Protocol):
    def __call__(self, **environment: str) -> Server: ...


@pytest.fixture
def manage(stack: Stack) -> Iterator[Manage]:
    """Start `manage.py …` as a process of its own on the stack's database; killed at the end.

    `environment` replaces the stack's own: `stack.environment | {…}`, or `stack.fresh_environment(tmp_path)`.
    `anew`: in an interpreter of its own, instead of a fork of one that has read the packages.
    """
    with ExitStack() as running:

        def start(
            *arguments: str | Path, environment: Mapping[str, str] | None = None, anew: bool = False
        ) -> Process:
            started = processes.manage_anew if anew else processes.manage
            process = started(*arguments, environment=environment or stack.environment)
            return running.enter_context(process)

        yield start


@pytest.fixture
def serve(stack: Stack) -> Iterator[Serve]:
    """Start `manage.py serve` on the stack's database and wait until it answers; killed at the end.

    Keyword arguments are added to its environment.
    """
    with ExitStack() as running:

        def start(**environment: str) -> Server:
            server = running.enter_context(Server(environment=stack.environment | environment))
            return server.ready()

        yield start


@pytest.fixture
def server(serve: Serve) -> Server:
    """One real server on the stack's database."""
    return serve()


# --- A browser ---

CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Chromium is. Without one, browser tests are skipped; on CI that is a failure."""
    return program_of_the_machine("chromium", "chromium-browser")


def program_of_the_machine(*names: str) -> str:
    """The first of these that there is. Without any the test is skipped; on CI that is a failure."""
    if found := next(filter(None, map(shutil.which, names)), None):
        return found
    if os.environ.get("CI"):
        pytest.fail(f"no {names[0]} on this machine, and CI is set")
    pytest.skip(f"no {names[0]} on this machine")


# Milliseconds until a page that shows nothing of what is expected is given up, on a slow machine.
PATIENCE = 30_000


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """A Chromium of this test's own: Playwright's objects belong to the test's event loop."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        expect.set_options(timeout=PATIENCE)
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """An empty page. The test fails if a script on it does, or its Content-Security-Policy is violated."""
    page = await browser.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: _note_violation(message.text, failures))
    yield page
    await page.close()
    assert not failures


def _note_violation(text: str, failures: list[str]) -> None:
    if "Content Security Policy" in text:
        failures.append(text)
