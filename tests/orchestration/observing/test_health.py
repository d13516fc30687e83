"""A process that lives says so whatever else is broken; one that is not ready says what is missing."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from datetime import timedelta
from math import inf

import httpx
import psycopg
import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from pytest_django import Settings

from approvals.database import triggers
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.models import HumanRequest
from approvals.waiting.waiting_room import waiting_room
from orchestration.models import Run, WriteTrial
from orchestration.observing import write_check
from orchestration.observing.health import Readiness
from orchestration.runtime import start_runtime, stop_runtime
from tests import factories
from tests.conftest import Serve
from tests.database_roles import APPLICATION
from tests.in_process import as_superuser
from tests.marks import both_databases
from tests.orchestration.observing.served import asked, labelled, numbers, until_ready, until_unready
from tests.patience import patience
from tests.processes import Server
from tests.servers import PostgresServer, RedisServer
from tests.tampering import remove_triggers

CHECKS = {
    "database",
    "writes",
    "migrations",
    "audit_triggers",
    "deadlines",
    "channel_layer",
    "listener",
    "deadline_keeper",
    "engine",
}


@pytest.fixture
def local() -> Client:
    return Client(headers={"host": "localhost"})


class TestAlive:
    def test_it_asks_no_database_and_nobody_who_it_is(self, local: Client) -> None:
        response = local.get("/healthz/live")
        assert (response.status_code, response.content) == (200, b"alive\n")
        assert "no-store" in response.headers["Cache-Control"]

    def test_it_is_not_sent_to_tls(self, local: Client, settings: Settings) -> None:
        """Probes come straight from the machine; pages are sent there."""
        settings.SECURE_SSL_REDIRECT = True
        assert local.get("/accounts/login/").status_code == 301
        assert local.get("/healthz/live").status_code == 200

    def test_it_goes_by_the_names_of_the_installation(self) -> None:
        assert Client(headers={"host": "10.1.2.3"}).get("/healthz/live").status_code == 400

    def test_it_is_only_read(self, local: Client) -> None:
        assert local.head("/healthz/live").status_code == 200
        assert local.post("/healthz/live").status_code == 405


@pytest.mark.django_db
class TestReady:
    async def test_all_is_well_where_all_parts_run(self) -> None:
        runtime = await start_runtime()
        try:
            await runtime.host.ready()
            room, readiness = waiting_room(), Readiness()
            while room.health is None or room.health.heard_at is None or room.health.kept_at is None:
                await in_database(database_now)
            assert await readiness.faults() == dict.fromkeys(CHECKS)
        finally:
            await stop_runtime()

    @pytest.mark.one_stack
    async def test_parts_that_do_not_run_are_named(self) -> None:
        faults = await found_faults()
        assert {name for name, fault in faults.items() if fault} == {"listener", "deadline_keeper", "engine"}

    async def test_missing_triggers_are_noticed(self) -> None:
        await in_database(_as_superuser, remove_triggers)
        try:
            fault = (await found_faults())["audit_triggers"]
        finally:
            await in_database(_as_superuser, triggers.install)
        assert fault
        assert "missing" in fault
        assert (await found_faults())["audit_triggers"] is None

    async def test_triggers_that_do_nothing_are_noticed(self) -> None:
        await in_database(_as_superuser, _hollow)
        try:
            fault = (await found_faults())["audit_triggers"]
        finally:
            await in_database(_as_superuser, triggers.install)
        assert fault == "1 missing or changed: audit entries could be changed"

    @pytest.mark.stacks("sqlite-memory")
    async def test_a_file_that_can_not_grow_is_noticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """By what is committed: a row that fits into a page that is half empty proves nothing."""
        monkeypatch.setattr(write_check, "EVERY", 0.0)
        readiness = Readiness()
        assert (await readiness.faults())["writes"] is None
        options = connections.settings["default"]["OPTIONS"]
        monkeypatch.setitem(options, "init_command", f"{options['init_command']}; PRAGMA max_page_count=1")
        try:
            await asyncio.to_thread(_fill)
            fault = (await found_faults())["writes"]
        finally:
            monkeypatch.undo()
            await asyncio.to_thread(_empty)
        assert fault == "the database has no room left"
        assert (await found_faults())["writes"] is None

    @pytest.mark.stacks("sqlite-memory")
    async def test_who_holds_the_lock_for_long_is_noticed(self) -> None:
        path = connections["default"].settings_dict["NAME"]
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            fault = (await found_faults())["writes"]
            other.execute("ROLLBACK")
        assert fault == "the database is locked by another process"

    @both_databases
    async def test_it_writes_at_most_every_ten_seconds(self) -> None:
        """However often it is asked; by a write that is there for all to see."""
        readiness = Readiness()
        await readiness.faults()
        first = await in_database(WriteTrial.objects.get)
        assert (first.pk, first.room) == (1, "")
        await Readiness().faults()
        second = await in_database(WriteTrial.objects.get)
        assert second.tried_at > first.tried_at
        readiness._database._ended = -inf  # what it found is not kept any more
        await readiness.faults()
        assert (await in_database(WriteTrial.objects.get)).tried_at == second.tried_at
        assert await in_database(WriteTrial.objects.count) == 1

    async def test_a_migration_that_was_not_applied_is_noticed(self) -> None:
        first = ("approvals", "0001_initial")
        await in_database(_as_superuser, lambda it: MigrationRecorder(it).record_unapplied(*first))
        try:
            fault = (await found_faults())["migrations"]
        finally:
            await in_database(_as_superuser, lambda it: MigrationRecorder(it).record_applied(*first))
        assert fault == "1 not applied"

    @pytest.mark.one_stack
    async def test_a_deadline_that_nobody_keeps_is_noticed(self) -> None:
        """Not at once: whoever keeps it needs a moment."""
        request_id = await in_database(factories.approval, timeout=3600.0)
        await in_database(_let_pass, request_id, 5)
        assert (await found_faults())["deadlines"] is None
        await in_database(_let_pass, request_id, 60)
        fault = (await found_faults())["deadlines"]
        assert fault
        assert "late by 6" in fault


async def found_faults() -> Mapping[str, str | None]:
    """Return what readiness finds once the database answers in time, which a busy machine may delay."""
    while (faults := await Readiness().faults())["database"]:
        pass
    return faults


def _as_superuser(deed: Callable[[BaseDatabaseWrapper], object]) -> None:
    with as_superuser():
        deed(connections["default"])


def _hollow(connection: BaseDatabaseWrapper) -> None:
    """One trigger has its name and no effect."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ALTER TABLE approvals_seal ENABLE REPLICA TRIGGER sayso_seal_no_change")
            return
        cursor.execute("DROP TRIGGER sayso_seal_no_update")
        cursor.execute(
            "CREATE TRIGGER sayso_seal_no_update BEFORE UPDATE ON approvals_seal BEGIN SELECT 1; END"
        )


def _let_pass(request_id: str, seconds: float) -> None:
    past = database_now() - timedelta(seconds=seconds)
    HumanRequest.writing.filter(pk=request_id).update(deadline=past)


def _fill() -> None:
    """Until not even a small row fits."""
    with connections["default"].cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS ballast (text)")
        for size in (4_000, 400, 40):
            with contextlib.suppress(OperationalError):
                while True:
                    cursor.execute("INSERT INTO ballast VALUES (%s)", ["x" * size])
    connections.close_all()


def _empty() -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute("DROP TABLE ballast")
    connections.close_all()


@pytest.mark.django_db
class TestServed:
    def test_it_becomes_ready_and_says_what_it_has_looked_at(self, serve: Serve) -> None:
        assert until_ready(serve()) == {name: {"ok": True} for name in CHECKS}

    def test_what_it_does_not_know_is_named_and_no_reason_to_be_unready(self, serve: Serve) -> None:
        """Other processes go on with these runs."""
        server = serve(SAYSO_LEASE="3")
        until_ready(server)
        now = database_now()
        for _ in range(2):
            Run.objects.create(orchestration="shredder", version=2, title="x", created_at=now, changed_at=now)
        unknown = [{"name": "shredder", "version": 2, "runs": 2}]
        while (answer := asked(server, "/healthz/ready")).json()["unknown_orchestrations"] != unknown:
            server.wait_briefly(0.1)
        assert (answer.status_code, answer.json()["ready"]) == (200, True)
        assert answer.json()["modules_not_imported"] == []
        assert numbers(server)[labelled("sayso_unknown_runs", orchestration="shredder", version="2")] == 2
        server.output.wait_for("left to other processes orchestrations=shredder, version 2")
        assert set(Run.objects.values_list("status", "epoch")) == {("queued", 0)}

    @pytest.mark.stacks("postgresql-redis")
    def test_a_frozen_redis_is_named_and_forgotten_again(
        self, private_redis: RedisServer, serve: Serve
    ) -> None:
        server = serve()
        until_ready(server)
        private_redis.freeze()
        checks = until_unready(server, "channel_layer")
        server.output.wait_for("sayso-health-layer failed error=")
        assert checks["database"] == {"ok": True}
        assert checks["channel_layer"]["reason"] in {"no answer within 2 s", "cannot send"}
        assert asked(server, "/healthz/live").status_code == 200
        private_redis.thaw()
        until_ready(server)

    def test_a_frozen_postgresql_is_named_and_forgotten_again(
        self, private_postgres: PostgresServer, serve: Serve
    ) -> None:
        """Also where everybody asks at once: probes take no thread from anybody."""
        server = serve()
        until_ready(server)
        private_postgres.freeze()
        for _ in range(3):
            checks = until_unready(server, "database", "migrations", "audit_triggers", "deadlines")
            assert checks["database"]["reason"] == "no answer within 2 s"
            assert asked(server, "/healthz/live").status_code == 200
        private_postgres.thaw()
        until_ready(server)

    def test_a_stopped_postgresql_is_named_without_its_secrets(
        self, private_postgres: PostgresServer, serve: Serve
    ) -> None:
        server = serve()
        until_ready(server)
        private_postgres.stop()
        reasons = {check.get("reason") for check in until_unready(server, "database").values()}
        assert reasons <= {
            None,
            "cannot be asked",
            "no answer within 2 s",
            "unknown while the database does not answer",
        }
        private_postgres.start()
        until_ready(server)

    def test_a_database_that_takes_nothing_or_nobody_is_named_and_pages_say_so(
        self, private_postgres: PostgresServer, serve: Serve
    ) -> None:
        """503, not 500: on the page and over HTTP. It is over as soon as the database is as before."""
        ann = factories.user("ann")
        ann.password = PBKDF2PasswordHasher().encode("a long one", "salt", iterations=1)
        ann.save()
        connections.close_all()
        server = serve()
        until_ready(server)
        writable = "-c default_transaction_read_only=off"
        with psycopg.connect(private_postgres.url, autocommit=True, options=writable) as database:
            database.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            database.execute("SELECT pg_reload_conf()")
            checks = until_unready(server, "writes")
            assert checks["writes"]["reason"] == "the database is read-only"
            assert checks["database"] == {"ok": True}
            answer = logging_in(server)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
            assert "Not available at the moment" in answer.text
            assert "The database is read-only at the moment." in answer.text
            database.execute("ALTER SYSTEM RESET default_transaction_read_only")
            database.execute("SELECT pg_reload_conf()")
            database.execute(f"ALTER ROLE {APPLICATION} CONNECTION LIMIT 0")
            database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [APPLICATION]
            )
            until_unready(server, "database")
            answer = asked(server, "/", Cookie="sessionid=01234567890123456789012345678901")
            assert (answer.status_code, "does not answer at the moment" in answer.text) == (503, True)
            assert asked(server, "/healthz/live").status_code == 200
            database.execute(f"ALTER ROLE {APPLICATION} CONNECTION LIMIT -1")
            until_ready(server)
            assert logging_in(server).status_code == 302


def logging_in(server: Server) -> httpx.Response:
    with httpx.Client(base_url=server.url, timeout=patience(60.0), trust_env=False) as browser:
        browser.get("/accounts/login/")
        form = {
            "username": "ann",
            "password": "a long one",
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
        }
        return browser.post("/accounts/login/", data=form)
