"""Triggers that do nothing are told from those that refuse, and whether they refuse is tried."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection

from approvals.database import triggers
from approvals.models import AuditEntry, Seal
from approvals.trail import seals, verification
from approvals.trail.verification import FaultKind
from tests.approvals.trail.test_verification import approved
from tests.in_process import as_superuser
from tests.tampering import remove_triggers

pytestmark = pytest.mark.django_db

ENTRIES, SEALS = "approvals_auditentry", "approvals_seal"


@pytest.fixture
def sealed() -> UUID:
    request_id = approved()
    seals.make(Ed25519PrivateKey.generate())
    return request_id


@contextmanager
def changed(*statements: str) -> Iterator[None]:
    """After these, as whoever may, and then put right by what migrating does."""
    with as_superuser():
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        try:
            yield
        finally:
            triggers.install(connection)
            assert triggers.faults(connection) == []


@pytest.mark.usefixtures("sealed")
def test_triggers_as_installed_are_right_and_refuse() -> None:
    assert triggers.faults(connection) == []
    with as_superuser():
        assert triggers.try_changes(connection) == []
        assert verification.verify().first == ()


@pytest.mark.parametrize("sealed_or_empty", ["sealed", "empty"])
def test_where_nothing_is_on_record_there_is_nothing_to_try(
    sealed_or_empty: str, request: pytest.FixtureRequest
) -> None:
    if sealed_or_empty == "sealed":
        request.getfixturevalue("sealed")
    with as_superuser():
        remove_triggers(connection)
        try:
            found = triggers.try_changes(connection)
        finally:
            triggers.install(connection)
    assert found == ([ENTRIES, SEALS] if sealed_or_empty == "sealed" else [])


def sqlite(name: str, when: str, body: str = "SELECT 1;") -> tuple[str, ...]:
    return (f"DROP TRIGGER {name}", f"CREATE TRIGGER {name} {when} BEGIN {body} END")


REFUSE = "SELECT RAISE(ABORT, 'no');"
HOLLOW = "does not refuse"
OTHERWISE = "is for other events, or has another condition"
TAKEN = f"EXISTS (SELECT 1 FROM {SEALS} WHERE number = NEW.number)"
# In SQLite no column, but a text, which no number is equal to.
A_TEXT = TAKEN.replace("NEW.number", '"NEW.number"')


@pytest.mark.stacks("sqlite-memory")
@pytest.mark.usefixtures("sealed")
class TestOnSqlite:
    @pytest.mark.parametrize(
        ("name", "when", "body", "flaw"),
        [
            ("audit_no_update", f"BEFORE UPDATE ON {ENTRIES}", "SELECT 1;", HOLLOW),
            ("audit_no_delete", f"BEFORE DELETE ON {ENTRIES}", "SELECT 1;", HOLLOW),
            ("seal_no_overwrite", f"BEFORE INSERT ON {SEALS} WHEN {TAKEN}", "SELECT 1;", HOLLOW),
            ("audit_no_update", f"BEFORE UPDATE ON {ENTRIES}", "SELECT RAISE(IGNORE);", HOLLOW),
            ("audit_no_update", f"BEFORE UPDATE ON {ENTRIES}", "SELECT RAISE(ABORT, 'no') WHERE 0;", HOLLOW),
            ("audit_no_update", f"BEFORE UPDATE ON {ENTRIES}", f"SELECT 1; {REFUSE}", HOLLOW),
            ("audit_no_update", f"BEFORE UPDATE ON {ENTRIES} WHEN 0", REFUSE, OTHERWISE),
            ("audit_no_update", f"BEFORE UPDATE OF address ON {ENTRIES}", REFUSE, OTHERWISE),
            ("audit_no_update", f"AFTER DELETE ON {ENTRIES}", REFUSE, OTHERWISE),
            ("seal_no_overwrite", f"BEFORE INSERT ON {SEALS} WHEN {A_TEXT}", REFUSE, OTHERWISE),
            ("audit_no_delete", "BEFORE DELETE ON approvals_response", REFUSE, "is missing"),
        ],
    )
    def test_what_does_not_refuse_is_named(self, name: str, when: str, body: str, flaw: str) -> None:
        with changed(*sqlite(f"sayso_{name}", when, body)):
            assert triggers.faults(connection) == [f"sayso_{name} {flaw}"]
            assert FaultKind.TRIGGERS in verification.verify().counts

    @pytest.mark.parametrize(
        "statements",
        [
            sqlite("sayso_audit_no_update", f"BEFORE UPDATE ON {ENTRIES}", REFUSE),
            sqlite("sayso_audit_no_update", f'before update on "{ENTRIES}"\n  for each row', REFUSE.lower()),
            sqlite("sayso_seal_no_overwrite", f"BEFORE INSERT ON {SEALS}\nWHEN {TAKEN}", REFUSE),
            (f"ALTER TABLE {SEALS} RENAME TO other", f"ALTER TABLE other RENAME TO {SEALS}"),
        ],
        ids=["another message", "other letters", "more lines", "renamed"],
    )
    def test_what_means_the_same_is_the_same(self, statements: tuple[str, ...]) -> None:
        with changed(*statements):
            assert triggers.faults(connection) == []
            assert verification.verify().first == ()

    @pytest.mark.parametrize(
        "statements",
        [
            sqlite("sayso_audit_no_update", f"BEFORE UPDATE ON {ENTRIES}"),
            sqlite("sayso_audit_no_delete", f"BEFORE DELETE ON {ENTRIES}"),
            sqlite("sayso_audit_no_overwrite", f"BEFORE INSERT ON {ENTRIES}"),
        ],
        ids=["update", "delete", "overwrite"],
    )
    def test_what_is_tried_and_not_refused_is_told_and_undone(self, statements: tuple[str, ...]) -> None:
        before = list(AuditEntry.objects.order_by("pk").values())
        with changed(*statements):
            tables = triggers.try_changes(connection)
        assert tables == [ENTRIES]
        assert list(AuditEntry.objects.order_by("pk").values()) == before


CHANGES = f"BEFORE UPDATE OR DELETE ON {ENTRIES}"


def function(body: str) -> str:
    return f"CREATE OR REPLACE FUNCTION sayso_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$"


def trigger(when: str, calling: str = "sayso_audit_refuse") -> str:
    return f"CREATE OR REPLACE TRIGGER sayso_audit_no_change {when} EXECUTE FUNCTION {calling}()"


@pytest.mark.stacks("postgresql-redis")
@pytest.mark.usefixtures("sealed")
class TestOnPostgresql:
    @pytest.mark.parametrize(
        "body",
        [
            "BEGIN RETURN NULL; END",
            "BEGIN RETURN NEW; END",
            "BEGIN RAISE WARNING 'no'; RETURN NEW; END",
            "BEGIN IF false THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END",
            "BEGIN BEGIN RAISE EXCEPTION 'no'; EXCEPTION WHEN OTHERS THEN RETURN NEW; END; END",
        ],
    )
    def test_a_function_that_lets_things_pass_is_named(self, body: str) -> None:
        """As the application finds it, which may not try."""
        with changed(function(body)):
            names = ("sayso_audit_no_change", "sayso_audit_no_truncate")
            assert triggers.faults(connection) == [f"{name} does not refuse" for name in names]
            assert FaultKind.TRIGGERS in verification.verify().counts

    @pytest.mark.parametrize(
        ("when", "flaw"),
        [
            (f"{CHANGES} FOR EACH ROW WHEN (false)", "has a condition"),
            (f"BEFORE UPDATE OF address OR DELETE ON {ENTRIES} FOR EACH ROW", "has a condition"),
            (f"BEFORE UPDATE ON {ENTRIES} FOR EACH ROW", "is for other events"),
            (f"BEFORE INSERT ON {ENTRIES} FOR EACH ROW", "is for other events"),
            (f"{CHANGES} FOR EACH STATEMENT", "is for other events"),
        ],
    )
    def test_a_trigger_that_is_for_something_else_is_named(self, when: str, flaw: str) -> None:
        with changed(trigger(when)):
            assert triggers.faults(connection) == [f"sayso_audit_no_change {flaw}"]

    @pytest.mark.parametrize(
        ("statement", "flaw"),
        [
            (f"ALTER TABLE {ENTRIES} ENABLE REPLICA TRIGGER sayso_audit_no_change", "is switched off"),
            (f"ALTER TABLE {ENTRIES} DISABLE TRIGGER sayso_audit_no_change", "is switched off"),
            (f"DROP TRIGGER sayso_audit_no_change ON {ENTRIES}", "is missing"),
        ],
    )
    def test_a_trigger_that_does_not_fire_is_named(self, statement: str, flaw: str) -> None:
        with changed(statement):
            assert triggers.faults(connection) == [f"sayso_audit_no_change {flaw}"]

    def test_a_trigger_that_calls_another_function_is_named(self) -> None:
        with changed(trigger(f"{CHANGES} FOR EACH ROW", "suppress_redundant_updates_trigger")):
            assert triggers.faults(connection) == ["sayso_audit_no_change does not refuse"]

    @pytest.mark.parametrize(
        "statement",
        [
            function("begin\n  raise exception 'not allowed';\nend;"),
            f"ALTER TABLE {ENTRIES} ENABLE ALWAYS TRIGGER sayso_audit_no_change",
        ],
        ids=["another text", "always"],
    )
    def test_what_means_the_same_is_the_same(self, statement: str) -> None:
        with changed(statement):
            assert triggers.faults(connection) == []

    def test_what_is_tried_and_not_refused_is_told_and_undone(self) -> None:
        """Nothing is wrong with the triggers; but this session fires none."""
        before = list(AuditEntry.objects.order_by("pk").values()), list(Seal.objects.values())
        with as_superuser(), connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            assert triggers.faults(connection) == []
            report = verification.verify()
        assert report.counts == {FaultKind.TRIGGERS: 2}
        assert "has been undone" in report.first[0].detail
        assert (list(AuditEntry.objects.order_by("pk").values()), list(Seal.objects.values())) == before

    def test_that_a_role_could_not_try_is_said(self) -> None:
        """The application may not change entries, whatever triggers say."""
        report = verification.verify()
        assert report.holds
        assert any("could not be tried: this role may not" in remark for remark in report.remarks)
        with as_superuser():
            assert not any("could not be tried" in remark for remark in verification.verify().remarks)

    def test_that_the_database_takes_no_write_is_said(self) -> None:
        with as_superuser(), connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")
            report = verification.verify()
        assert report.holds
        assert any("the database took no write" in remark for remark in report.remarks)
