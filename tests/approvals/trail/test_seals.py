"""Seals: what they cover, what they are signed with, and what only they can notice."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from time import sleep
from typing import Any
from uuid import UUID

import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.db import DatabaseError, connection, transaction

from approvals.models import AuditEntry, HumanRequest, Response, Seal, ShownContent
from approvals.trail import seals, verification
from approvals.trail.seals import NotSealed, SealRecord, copies, keys
from approvals.trail.seals import sealing as module
from approvals.trail.verification import FaultKind
from tests import factories as make
from tests.approvals.trail.test_verification import (
    append_forged,
    approved,
    change_row,
    delete_entries,
    rewrite,
)
from tests.in_process import as_superuser
from tests.patience import patience
from tests.stacks import Stack
from tests.tampering import as_a_superuser_might, but_untried

KEY = Ed25519PrivateKey.generate()
TRUSTED = frozenset({keys.as_hex(KEY.public_key())})


def seal(key: Ed25519PrivateKey = KEY) -> SealRecord:
    made = seals.make(key)
    assert made is not None
    return made


def found() -> set[FaultKind]:
    return {fault.kind for fault in verification.verify(trusted=TRUSTED).first}


@pytest.mark.django_db
class TestMaking:
    def test_a_seal_signs_range_count_and_digest_of_all_entries_since_the_last(self) -> None:
        """Recomputed here with nothing but hashlib and the public key."""
        approved()
        first = seal()
        approved(), approved()
        second = seal()
        said = json.loads(second.canonical)
        rows = AuditEntry.objects.filter(pk__gt=first.last_entry).order_by("request_id", "sequence")
        lines = "".join(f"{row.pk} {row.hash}\n" for row in rows)
        assert said["sha256"] == hashlib.sha256(lines.encode()).hexdigest()
        assert (said["entries"], said["chains"], said["previous"]) == (4, 2, first.hash)
        assert (said["first"], said["last"]) == (first.last_entry + 1, max(row.pk for row in rows))
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(said["key"]))
        public.verify(bytes.fromhex(second.signature), second.canonical.encode())

    def test_nothing_new_makes_no_seal(self) -> None:
        assert seals.make(KEY) is None
        approved()
        seal()
        assert seals.make(KEY) is None

    def test_what_is_sealed_holds_and_what_is_not_is_counted(self) -> None:
        approved()
        seal()
        approved()
        report = verification.verify(trusted=TRUSTED)
        assert report.holds
        assert (report.entries, report.chains, report.seals, report.unsealed) == (4, 2, 1, 2)
        assert but_untried(report.remarks) == []

    def test_without_a_trusted_key_the_report_says_so(self) -> None:
        approved()
        assert "no seals" in verification.verify().remarks[0]
        seal()
        assert "public key" in verification.verify().remarks[0]

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE approvals_seal SET digest = ''",
            "DELETE FROM approvals_seal",
            "TRUNCATE approvals_seal",
            "INSERT OR REPLACE INTO approvals_seal SELECT * FROM approvals_seal",
        ],
    )
    def test_the_table_only_grows(self, statement: str) -> None:
        approved()
        seal()
        before = list(Seal.objects.values())
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
        assert list(Seal.objects.values()) == before


@pytest.mark.stacks("postgresql-redis")
@pytest.mark.django_db
class TestHorizon:
    """On PostgreSQL entries with lower ids may commit after those with higher ones."""

    def test_a_seal_waits_for_those_that_may_still_commit_below_it(
        self, stack: Stack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        approved()
        waiting = waited_for(monkeypatch)
        with slow_writer(stack) as slow:
            slow.insert()
            approved()
            sealing = Sealing()
            assert waiting.wait(patience())
            assert not sealing.ended
            slow.commit()
            made = sealing.result()
        assert made.entries == 6
        assert found() == set()

    def test_one_that_rolls_back_leaves_a_gap_and_no_suspicion(
        self, stack: Stack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        approved()
        waiting = waited_for(monkeypatch)
        with slow_writer(stack) as slow:
            slow.insert()
            approved()
            sealing = Sealing()
            assert waiting.wait(patience())
            slow.rollback()
            assert sealing.result().entries == 5
        assert found() == set()

    def test_one_that_does_not_end_keeps_the_seal_from_being_made(self, stack: Stack) -> None:
        approved()
        with slow_writer(stack) as slow:
            slow.insert()
            approved()
            with pytest.raises(NotSealed, match="not ended"):
                module.wait_until_settled(0.0)
            slow.rollback()
        assert not Seal.objects.exists()


class Sealing:
    """A seal that is being made on another thread."""

    def __init__(self) -> None:
        self._made: list[SealRecord] = []
        self._thread = Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._made.append(seal())
        finally:
            connection.close()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> SealRecord:
        self._thread.join(patience())
        assert self._made
        return self._made[0]


def waited_for(monkeypatch: pytest.MonkeyPatch) -> Event:
    """Set once a sealing has found somebody whom it waits for, between two looks."""
    waiting = Event()

    def waits(seconds: float) -> None:
        waiting.set()
        sleep(seconds)

    monkeypatch.setattr(module, "sleep", waits)
    return waiting


class slow_writer:  # noqa: N801  reads as a verb's object
    """A session that has written an entry and not committed yet."""

    def __init__(self, stack: Stack) -> None:
        self._session = psycopg.connect(stack.environment["DATABASE_URL"])

    def __enter__(self) -> slow_writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def insert(self) -> None:
        """An entry that continues a chain, with the id that comes next; the row is moved, too."""
        request_id = UUID(make.approval())
        last = AuditEntry.objects.get(request_id=request_id)
        forged = append_forged(request_id)
        names = [str(field.attname) for field in AuditEntry._meta.concrete_fields if field.attname != "id"]
        values = AuditEntry.objects.filter(pk=forged.pk).values_list(*names).get()
        shown = ShownContent.objects.get(entry=forged.pk)
        delete_entries(request_id, 2)
        columns, places = ", ".join(names), ", ".join(["%s"] * len(names))
        inserted = f"INSERT INTO approvals_auditentry ({columns}) VALUES ({places}) RETURNING id"
        (written,) = self._session.execute(inserted.encode(), values)
        self._session.execute(
            "INSERT INTO approvals_showncontent (entry_id, salt, content) VALUES (%s, %s, %s)",
            [*written, shown.salt, shown.content],
        )
        self._session.execute(
            "UPDATE approvals_humanrequest SET trail_length = 2, trail_head = %s WHERE id = %s",
            [forged.hash, request_id],
        )
        assert last.sequence == 1

    def commit(self) -> None:
        self._session.commit()

    def rollback(self) -> None:
        self._session.rollback()


@pytest.mark.django_db
class TestTampering:
    """What each kind of tampering is called, once the trail is sealed."""

    @pytest.fixture
    def sealed(self) -> Iterator[UUID]:
        request_id = approved()
        approved()
        seal()
        approved()
        seal()
        assert found() == set()
        return request_id  # type: ignore[return-value]

    def test_a_deleted_chain_with_its_request(self, sealed: UUID) -> None:
        delete_whole_request(sealed)
        assert found() == {FaultKind.MISSING_CHAIN}

    def test_a_deleted_end_of_a_chain_whose_row_was_made_to_fit(self, sealed: UUID) -> None:
        first = AuditEntry.objects.get(request_id=sealed, sequence=1)
        delete_entries(sealed, 2)
        with as_superuser():
            Response.writing.filter(request_id=sealed).delete()
        change_row(
            sealed,
            status="pending",
            closed_at=None,
            decided_by=None,
            comment="",
            approvals=0,
            trail_length=1,
            trail_head=first.hash,
        )
        assert verification.verify_request(sealed) == []
        assert found() == {FaultKind.MISSING_ENTRY}

    def test_a_chain_that_was_made_anew(self, sealed: UUID) -> None:
        """Everything fits, but it is not what was sealed."""
        rewrite(sealed, 2, address="10.0.0.1")
        change_row(sealed, trail_head=AuditEntry.objects.get(request_id=sealed, sequence=2).hash)
        assert verification.verify_request(sealed) == []
        assert found() == {FaultKind.CHANGED_ENTRY}

    def test_a_forged_entry_in_a_sealed_range(self, sealed: UUID) -> None:
        """Under an id that was free: a rolled back transaction leaves such gaps."""
        last = Seal.objects.order_by("number").last()
        with as_a_superuser_might():
            forged = append_forged(sealed)
            with transaction.atomic():
                AuditEntry.writing.filter(pk=forged.pk).update(id=0)
                with as_superuser():
                    ShownContent.writing.filter(entry=forged.pk).update(entry=0)
            change_row(sealed, trail_length=3, trail_head=forged.hash)
        assert last is not None
        assert verification.verify_request(sealed) == []
        assert found() == {FaultKind.SURPLUS_ENTRY}

    @pytest.mark.parametrize("column", ["canonical", "hash", "signature", "digest", "entries", "public_key"])
    def test_a_changed_seal(self, sealed: UUID, column: str) -> None:
        value = 7 if column == "entries" else "0" * 64
        with as_a_superuser_might():
            Seal.writing.filter(number=1).update(**{column: value})
        assert FaultKind.REWRITTEN_SEAL in found()

    def test_a_seal_of_another_moment(self, sealed: UUID) -> None:
        with as_a_superuser_might():
            Seal.writing.filter(number=1).update(sealed_at=datetime(2001, 1, 1, tzinfo=UTC))
        assert FaultKind.REWRITTEN_SEAL in found()

    @pytest.mark.stacks("sqlite-memory")
    def test_what_only_sqlite_keeps_in_a_column_of_a_seal(self, sealed: UUID) -> None:
        with as_a_superuser_might(), connection.cursor() as cursor:
            cursor.execute("UPDATE approvals_seal SET sealed_at = 'never', signature = x'ff'")
        assert FaultKind.REWRITTEN_SEAL in found()

    def test_a_deleted_seal(self, sealed: UUID) -> None:
        with as_a_superuser_might():
            Seal.writing.filter(number=1).delete()
        assert FaultKind.REWRITTEN_SEAL in found()

    def test_all_seals_made_anew_with_another_key(self, sealed: UUID) -> None:
        """Only the public key that somebody was given tells."""
        with as_a_superuser_might():
            Seal.writing.all().delete()
        seal(Ed25519PrivateKey.generate())
        assert verification.verify().holds
        assert found() == {FaultKind.REWRITTEN_SEAL}

    def test_all_seals_made_anew_with_the_same_key(self, sealed: UUID, tmp_path: Path) -> None:
        """Only the copies that somebody keeps tell."""
        kept = tmp_path / "seals.jsonl"
        copies.bring_up_to_date(kept, on_record())
        with as_a_superuser_might():
            Seal.writing.all().delete()
        seal()
        assert found() == set()
        report = verification.verify(
            trusted=TRUSTED, copies={copy.number: copy for copy in copies.read(kept)}
        )
        assert [fault.kind for fault in report.first] == [FaultKind.REWRITTEN_SEAL]
        assert report.counts[FaultKind.REWRITTEN_SEAL] == 2

    def test_missing_triggers(self) -> None:
        with as_a_superuser_might():
            assert found() == {FaultKind.TRIGGERS}

    def test_entries_without_their_request(self, sealed: UUID) -> None:
        with as_a_superuser_might():
            Response.writing.filter(request_id=sealed).delete()
            requests = HumanRequest.writing.filter(pk=sealed)
            with transaction.atomic(), connection.cursor() as cursor:
                if connection.vendor == "postgresql":
                    cursor.execute("SET LOCAL session_replication_role = replica")
                requests._raw_delete(requests.db)
        assert found() == {FaultKind.ROW}


def delete_whole_request(request_id: UUID) -> None:
    delete_entries(request_id, 1, 2)
    with as_superuser():
        Response.writing.filter(request_id=request_id).delete()
        HumanRequest.writing.filter(pk=request_id).delete()


def on_record() -> list[SealRecord]:
    return [seals.parse(row.canonical, hash_=row.hash, signature=row.signature) for row in seals.read_seals()]


@pytest.mark.django_db
class TestCopies:
    def test_the_file_gets_what_it_has_not(self, tmp_path: Path) -> None:
        kept = tmp_path / "seals.jsonl"
        for _ in range(3):
            approved()
            seal()
        assert copies.bring_up_to_date(kept, on_record()[:1]) == 1
        assert copies.bring_up_to_date(kept, on_record()) == 2
        assert copies.bring_up_to_date(kept, on_record()) == 0
        assert copies.read(kept) == on_record()
        assert list(tmp_path.iterdir()) == [kept]

    def test_a_file_of_other_seals_is_left_as_it_was(self, tmp_path: Path) -> None:
        kept = tmp_path / "seals.jsonl"
        approved()
        seal()
        copies.bring_up_to_date(kept, on_record())
        before = kept.read_bytes()
        with as_a_superuser_might():
            Seal.writing.all().delete()
        seal(Ed25519PrivateKey.generate())
        with pytest.raises(copies.OtherSeals):
            copies.bring_up_to_date(kept, on_record())
        assert kept.read_bytes() == before

    def test_a_file_of_something_else_is_refused(self, tmp_path: Path) -> None:
        kept = tmp_path / "letters.txt"
        kept.write_text("Dear Ada,\n")
        with pytest.raises(copies.UnusableCopies, match="line 1"):
            copies.read(kept)


class TestKeys:
    def test_a_new_key_is_for_its_owner_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "seal.pem"
        public = keys.new_key(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        (tmp_path / "seal.pub").write_text(public)
        assert keys.load_public_key(tmp_path / "seal.pub") == keys.load_public_key(path)
        assert keys.load_public_key(path) == keys.as_hex(keys.load_private_key(path).public_key())

    def test_no_key_is_written_over_another_file(self, tmp_path: Path) -> None:
        path = tmp_path / "seal.pem"
        keys.new_key(path)
        before = path.read_bytes()
        with pytest.raises(keys.UnusableKey, match="exists"):
            keys.new_key(path)
        assert path.read_bytes() == before

    @pytest.mark.parametrize("kind", ["missing", "directory", "text", "other", "encrypted"])
    def test_what_is_no_key_is_refused(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / "seal.pem"
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        match kind:
            case "directory":
                path.mkdir()
            case "text":
                path.write_text("-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n")
            case "other":
                other: Any = X25519PrivateKey.generate()
                path.write_bytes(other.private_bytes(pem, pkcs8, serialization.NoEncryption()))
            case "encrypted":
                path.write_bytes(
                    KEY.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"secret"))
                )
        with pytest.raises(keys.UnusableKey, match=r"seal\.pem"):
            keys.load_private_key(path)
        with pytest.raises(keys.UnusableKey, match=r"seal\.pem"):
            keys.load_public_key(path)
