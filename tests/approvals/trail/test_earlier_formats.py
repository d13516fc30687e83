"""What earlier versions have put on record and exported verifies byte for byte, and goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from approvals import deciding
from approvals.domain.commands import Actor
from approvals.domain.payloads import digest
from approvals.exceptions import InvalidRequest, KeyConflict
from approvals.models import AuditEntry, HumanRequest, ShownContent
from approvals.trail import exports, verification
from approvals.trail.exports import Filters
from approvals.trail.seals import keys
from approvals.trail.verification import FaultKind
from approvals.trail.verification.replay import Replay
from approvals.writer import chain
from approvals.writer.chain import FORMAT
from tests import factories as make
from tests.approvals.trail import earlier
from tests.journeys.test_auditor import blocks
from tests.tampering import as_a_superuser_might

TRUSTED = frozenset({keys.load_public_key(earlier.KEY)})


@pytest.fixture
def record(db: None) -> None:
    earlier.load()


def said_by_the_program(file: Path, directory: Path) -> str:
    """What the program of docs/audit.md prints of this export."""
    program = directory / "verify.py"
    program.write_text(blocks("python", "program")[0])
    done = subprocess.run(
        [sys.executable, program, file, earlier.KEY], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("record")
class TestRecord:
    def test_it_has_entries_of_every_earlier_format(self) -> None:
        formats = set(AuditEntry.objects.values_list("format", flat=True))
        assert formats == set(range(1, FORMAT))

    def test_it_holds(self) -> None:
        report = verification.verify(trusted=TRUSTED)
        assert report.first == ()
        assert (report.entries, report.chains, report.seals, report.unsealed) == (91, 36, 1, 28)

    def test_every_text_is_what_its_columns_say_and_hashes_to_its_hash(self) -> None:
        for entry in AuditEntry.objects.all():
            assert chain.canonical_entry(vars(entry), json.loads(entry.canonical)) == entry.canonical
            assert digest(entry.canonical) == entry.hash
        for shown in ShownContent.objects.select_related("entry"):
            assert chain.content_hash(shown.salt, shown.content) == shown.entry.content_hash

    def test_a_changed_text_of_every_format_is_named(self) -> None:
        """Older entries vouch for less, and for that as ever."""
        for format in range(1, FORMAT):  # noqa: A001
            entry = AuditEntry.objects.filter(format=format, event="decided").first()
            assert entry is not None
            with as_a_superuser_might():
                AuditEntry.writing.filter(pk=entry.pk).update(address="192.0.2.99")
                (fault,) = verification.verify_request(entry.request_id)
                assert (fault.kind, fault.sequence) == (FaultKind.CHANGED_ENTRY, entry.sequence)
                AuditEntry.writing.filter(pk=entry.pk).update(address=entry.address)

    def test_what_is_pending_goes_on(self) -> None:
        """Under its key, whatever its numbers are; what is added is of the format of today."""
        (pending,) = HumanRequest.objects.filter(status="pending", key="left-3")
        again = make.approval("Pay an invoice", arguments=pending.arguments, key="left-3", details="*Urgent*")
        assert again == str(pending.pk)
        with pytest.raises(KeyConflict):
            make.approval("Pay another invoice", key="left-3")
        with pytest.raises(InvalidRequest):
            make.approval("Pay another invoice", arguments=pending.arguments, key="left-3")
        deciding.decide(make.actor(make.reviewer()), pending.pk, "approve")
        formats = AuditEntry.objects.filter(request=pending).order_by("sequence")
        assert list(formats.values_list("format", flat=True)) == [3, FORMAT]
        assert verification.verify(trusted=TRUSTED).first == ()

    def test_what_is_pending_under_a_fingerprint_goes_on(self) -> None:
        """The key finds it by its fingerprint, which is what it was before requests had younger terms."""
        (pending,) = HumanRequest.objects.filter(status="pending", key="left-4")
        asked = {"arguments": {"invoice": 4, "rate": 0.25}, "key": "left-4"}
        assert make.approval("Pay an invoice", **asked) == str(pending.pk)
        with pytest.raises(KeyConflict) as conflict:
            make.approval("Pay an invoice", **asked, severity="high", highlight=["invoice"])
        assert conflict.value.differs == ("severity",)
        deciding.decide(make.actor(make.reviewer()), pending.pk, "approve")
        formats = AuditEntry.objects.filter(request=pending).order_by("sequence")
        assert list(formats.values_list("format", flat=True)) == [4, FORMAT]
        assert verification.verify(trusted=TRUSTED).first == ()

    @pytest.mark.one_stack
    def test_a_younger_term_has_its_default(self) -> None:
        """In requests of every format another value is named, also once the trail goes on in today's."""
        for format in range(1, FORMAT):  # noqa: A001
            entry = AuditEntry.objects.filter(format=format, event="opened", request__purged_at=None).last()
            assert entry is not None
            asked = HumanRequest.writing.filter(pk=entry.request_id)
            with as_a_superuser_might():
                for change in ({"severity": "high"}, {"highlight": ["invoice"]}):
                    asked.update(**change)
                    (fault,) = verification.verify_request(entry.request_id)
                    assert fault.kind is FaultKind.ROW
                    asked.update(severity="normal", highlight=[])
        pending = HumanRequest.writing.filter(key="left-4")
        with as_a_superuser_might():
            pending.update(severity="high")
        deciding.decide(Actor.program(), pending.get().pk, "approve")
        (fault,) = verification.verify_request(pending.get().pk)
        assert fault.detail == "Entry 2 was made under another policy than that before it."

    @pytest.mark.parametrize("format", ["jsonl", "csv"])
    def test_an_export_of_today_verifies(self, format: str, tmp_path: Path) -> None:  # noqa: A002
        file = tmp_path / "trail"
        file.write_text("".join(exports.lines(Filters(), format)), newline="")
        report = verification.verify_export(file, trusted=TRUSTED)
        assert (report.first, report.entries, report.unsealed) == ((), 91, 28)
        if format == "jsonl":
            assert said_by_the_program(file, tmp_path) == "36 chains and 1 seals hold; complete: True\n"


class TestExports:
    @pytest.mark.parametrize("file", earlier.EXPORTS, ids=lambda file: file.suffix)
    def test_a_file_verifies(self, file: Path) -> None:
        report = verification.verify_export(file, trusted=TRUSTED)
        assert report.first == ()
        assert (report.entries, report.chains, report.seals, report.unsealed) == (65, 26, 1, 2)

    def test_a_file_verifies_by_the_program_alone(self, tmp_path: Path) -> None:
        said = said_by_the_program(earlier.EXPORTS[0], tmp_path)
        assert said == "26 chains and 1 seals hold; complete: True\n"


def test_an_older_process_may_write_after_a_younger_one() -> None:
    """As while servers are replaced one by one: what its policies do not name yet still holds."""
    replay = Replay()
    policy = {"required": 1, "four_eyes": False, "on_timeout": "reject", "deadline": None}
    entry: dict[str, Any] = {"event": "viewed", "outcome": "", "actor": None, "kind": "approval", "facts": {}}
    for sequence, format_ in enumerate([5, 4, 5], 1):
        says = {**policy, "severity": "high"} if format_ == 5 else policy
        named = {**entry, "sequence": sequence, "format": format_, "policy": says}
        assert replay.take(named, "{}")
    assert (replay.policy_changed_at, replay.policy["severity"]) == (None, "high")
