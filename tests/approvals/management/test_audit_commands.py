"""audit_seal, audit_verify and audit_export: what they print, refuse and leave behind, and how they exit."""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from pytest_django import Settings

from approvals.models import AuditEntry, HumanRequest, Seal
from approvals.process.files import write_whole
from tests import factories as make
from tests.approvals.trail.test_verification import approved, change_entry
from tests.conftest import Manage
from tests.marks import both_databases
from tests.tampering import as_a_superuser_might, but_untried

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]


def run(*arguments: object, **options: Any) -> str:
    output = io.StringIO()
    call_command(*map(str, arguments), stdout=output, stderr=io.StringIO(), **options)
    return output.getvalue()


def refused(*arguments: object) -> tuple[int, str]:
    """With which status, and why."""
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    return caught.value.returncode, str(caught.value)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "seal.pem"
    (tmp_path / "seal.pub").write_text(run("audit_seal", "--new-key", path))
    return path


@pytest.fixture
def public(key: Path) -> Path:
    return key.with_suffix(".pub")


class TestSeal:
    @both_databases
    def test_a_seal_is_told_kept_and_verified(self, key: Path, public: Path, tmp_path: Path) -> None:
        approved()
        kept = tmp_path / "seals.jsonl"
        assert "Seal 1: 2 entries" in run("audit_seal", "--key", key, "--out", kept)
        assert "Nothing new since seal 1." in run("audit_seal", "--key", key, "--out", kept)
        approved()
        assert "Seal 2: 2 entries" in run("audit_seal", "--key", key, "--out", kept)
        assert len(kept.read_text().splitlines()) == 2
        printed = run("audit_verify", "--public-key", public, "--seals", kept)
        lines = but_untried(printed.splitlines())
        assert lines == ["4 entries of 2 requests, 2 seals.", "The trail holds."]

    def test_the_key_may_be_a_setting(self, key: Path, settings: Settings) -> None:
        """Then verification trusts its public half without being told."""
        settings.SAYSO_SEAL_KEY = str(key)
        approved()
        assert "Seal 1" in run("audit_seal")
        assert "public key" not in run("audit_verify")

    def test_a_new_key_is_its_owners_and_prints_the_public_one(self, tmp_path: Path) -> None:
        path = tmp_path / "new.pem"
        printed = run("audit_seal", "--new-key", path)
        assert printed.startswith("-----BEGIN PUBLIC KEY-----\n")
        assert "PRIVATE" not in printed
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert refused("audit_seal", "--new-key", path)[0] == 2

    def test_half_a_key_is_not_left(self, tmp_path: Path) -> None:
        """As on a full disk: no file may grow."""
        path = tmp_path / "new.pem"
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
        try:
            status, why = refused("audit_seal", "--new-key", path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert (status, why) == (2, f"{path} can't be written: File too large.")
        assert not any(tmp_path.iterdir())

    def test_without_a_usable_key_nothing_is_sealed(self, tmp_path: Path, settings: Settings) -> None:
        approved()
        assert refused("audit_seal")[0] == 2
        assert refused("audit_seal", "--key", tmp_path / "none.pem") == (
            2,
            f"{tmp_path / 'none.pem'} can't be read: No such file or directory.",
        )
        settings.SAYSO_SEAL_KEY = str(tmp_path)
        assert refused("audit_seal")[0] == 2
        assert not Seal.objects.exists()

    def test_a_file_of_something_else_is_refused_before_anything_is_sealed(
        self, key: Path, tmp_path: Path
    ) -> None:
        approved()
        letter = tmp_path / "letter.txt"
        letter.write_text("Dear Ada,\n")
        assert refused("audit_seal", "--key", key, "--out", letter)[0] == 2
        assert refused("audit_seal", "--key", key, "--out", tmp_path / "no" / "where")[0] == 2
        assert refused("audit_seal", "--key", key, "--new-key", tmp_path / "other")[0] == 2
        assert letter.read_text() == "Dear Ada,\n"
        assert not Seal.objects.exists()

    def test_nothing_follows_a_seal_that_is_none_any_more(self, key: Path, tmp_path: Path) -> None:
        approved()
        run("audit_seal", "--key", key)
        with as_a_superuser_might():
            Seal.writing.update(canonical="no seal")
        approved()
        status, why = refused("audit_seal", "--key", key, "--out", tmp_path / "seals.jsonl")
        assert (status, "seal 1 is no longer a seal" in why) == (1, True)
        assert [Seal.objects.count(), *tmp_path.glob("seals*")] == [1]

    def test_copies_that_are_not_those_on_record_are_left_alone(self, key: Path, tmp_path: Path) -> None:
        approved()
        kept = tmp_path / "seals.jsonl"
        run("audit_seal", "--key", key, "--out", kept)
        before = kept.read_bytes()
        with as_a_superuser_might():
            Seal.writing.all().delete()
        status, why = refused("audit_seal", "--key", key, "--out", kept)
        assert (status, "not the one on record" in why) == (1, True)
        assert kept.read_bytes() == before

    def test_another_key_is_pointed_out(self, key: Path, tmp_path: Path) -> None:
        approved()
        run("audit_seal", "--key", key)
        other = tmp_path / "other.pem"
        run("audit_seal", "--new-key", other)
        approved()
        told = io.StringIO()
        call_command("audit_seal", "--key", str(other), stdout=io.StringIO(), stderr=told)
        assert "another key" in told.getvalue()
        assert "signed with another key" in refused_report("--public-key", key.with_suffix(".pub"))
        both = ("--public-key", key, "--public-key", other)
        assert "The trail holds." in run("audit_verify", *both)


class TestSending:
    """To an HTTP endpoint off the machine, by the rules that outcomes are posted by."""

    @pytest.fixture
    def receiver(self, settings: Settings) -> Iterator[Receiver]:
        settings.SAYSO_CALLBACK_HOSTS = ["127.0.0.1"]
        settings.SAYSO_CALLBACK_NETWORKS = ["127.0.0.0/8"]
        with Receiver() as receiver:
            yield receiver

    def test_the_newest_seal_is_posted_and_again_if_nothing_is_new(
        self, key: Path, receiver: Receiver
    ) -> None:
        approved()
        assert "Seal 1 sent." in run("audit_seal", "--key", key, "--url", receiver.url)
        assert "Seal 1 sent." in run("audit_seal", "--key", key, "--url", receiver.url)
        first, again = receiver.bodies
        assert first == again
        assert json.loads(first)["hash"] == Seal.objects.get().hash

    def test_a_receiver_that_fails_is_told_and_the_seal_stays(self, key: Path, receiver: Receiver) -> None:
        approved()
        receiver.status = 500
        status, why = refused("audit_seal", "--key", key, "--url", receiver.url)
        assert (status, "could not be sent" in why) == (1, True)
        assert Seal.objects.count() == 1

    def test_a_host_that_is_not_allowed_is_refused_before_anything_is_sealed(self, key: Path) -> None:
        approved()
        status, why = refused("audit_seal", "--key", key, "--url", "https://example.org/seals")
        assert (status, "SAYSO_CALLBACK_HOSTS" in why) == (2, True)
        assert not Seal.objects.exists()


class Receiver:
    """A server on this machine that keeps what is posted to it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.status = 204
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}/seals"

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def refused_report(*arguments: object) -> str:
    """What audit_verify prints of a trail that is broken."""
    output = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("audit_verify", *map(str, arguments), stdout=output, stderr=io.StringIO())
    assert caught.value.returncode == 1
    return output.getvalue()


class TestVerify:
    @both_databases
    def test_the_first_of_each_kind_is_named_with_how_many_there_are(self) -> None:
        first, second = approved(), approved()
        for request_id in (first, second):
            change_entry(request_id, 1, address="10.0.0.1")
        HumanRequest.writing.filter(pk=approved()).update(status="rejected")
        printed = refused_report()
        assert f"changed entry (request {first}, entry 1)" in printed
        assert "And 1 more of this kind." in printed
        assert "row that disagrees" in printed
        assert str(second) not in printed

    def test_a_report_for_machines(self) -> None:
        request_id = approved()
        report = json.loads(run("audit_verify", "--json"))
        assert report | {"remarks": but_untried(report["remarks"])} == {
            "holds": True,
            "entries": 2,
            "requests": 1,
            "seals": 0,
            "unsealed": 2,
            "remarks": ["There are no seals: nothing would show if a whole chain had been replaced."],
            "faults": [],
        }
        change_entry(request_id, 2, address="10.0.0.1")
        (fault,) = json.loads(refused_report("--json"))["faults"]
        assert (fault["kind"], fault["count"], fault["request"], fault["entry"]) == (
            "changed entry",
            1,
            str(request_id),
            2,
        )

    @both_databases
    def test_missing_triggers_are_named(self) -> None:
        with as_a_superuser_might():
            assert "triggers missing: sayso_audit_no_" in refused_report()

    def test_that_all_seals_are_gone_is_named_to_whoever_has_the_key(
        self, key: Path, public: Path, tmp_path: Path, settings: Settings
    ) -> None:
        """A key that is only set here may be there before the first seal."""
        settings.SAYSO_SEAL_KEY = str(key)
        file = tmp_path / "trail.jsonl"
        approved()
        run("audit_seal")
        with as_a_superuser_might():
            Seal.writing.all().delete()
        run("audit_export", "--out", file)
        for arguments in ((), ("--export", file)):
            assert "The trail holds." in run("audit_verify", *arguments)
            printed = refused_report(*arguments, "--public-key", public)
            assert "rewritten seal: There are no seals, though" in printed

    def test_what_can_not_be_verified_is_misuse(self, tmp_path: Path) -> None:
        letter = tmp_path / "letter.txt"
        letter.write_text("Dear Ada,\n")
        for option in ("--export", "--seals", "--public-key"):
            for path in (letter, tmp_path / "none", tmp_path):
                status, why = refused("audit_verify", option, path)
                assert (status, path.name in why) == (2, True), (option, path)

    def test_the_exit_status_tells(self, manage: Manage) -> None:
        """As a process: nought where it holds, one where it is broken."""
        request_id = approved()
        holds = manage("audit_verify")
        assert (holds.wait(), "The trail holds." in holds.output.text) == (0, True)
        change_entry(request_id, 2, address="10.0.0.1")
        broken = manage("audit_verify")
        assert (broken.wait(), "changed entry" in broken.output.text) == (1, True)
        assert manage("audit_verify", "--export", "nowhere").wait() == 2


class TestExport:
    @both_databases
    @pytest.mark.parametrize("format", ["jsonl", "csv"])
    def test_a_file_is_written_and_verified(self, format: str, tmp_path: Path) -> None:  # noqa: A002
        approved()
        file = tmp_path / "trail"
        run("audit_export", "--format", format, "--out", file)
        assert list(tmp_path.iterdir()) == [file]
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert "The trail holds." in run("audit_verify", "--export", file)
        assert file.read_text() != run("audit_export", "--format", format)

    def test_an_altered_file_is_named_with_its_line(self, tmp_path: Path) -> None:
        approved()
        file = tmp_path / "trail"
        run("audit_export", "--out", file)
        text = file.read_text()
        file.write_text(text.replace("approved", "rejected"))
        assert "line 3" in refused_report("--export", file)
        file.write_text(text[:-30])
        assert "altered export (line 4)" in refused_report("--export", file)

    @both_databases
    def test_filters(self, tmp_path: Path) -> None:
        ada = make.reviewer("ada")
        approved()
        request_id = make.approval(requester=ada, origin={"kind": "run", "id": "run-7", "url": ""})
        make.clarification()
        day = AuditEntry.objects.get(request_id=request_id).recorded_at.date().isoformat()
        assert entries(run("audit_export")) == 4
        assert entries(run("audit_export", "--run", "run-7")) == 1
        assert entries(run("audit_export", "--kind", "clarification")) == 1
        assert entries(run("audit_export", "--since", day, "--until", day)) == 4
        assert entries(run("audit_export", "--until", "2020-01-31")) == 0
        assert entries(run("audit_export", "--actor", "ada")) == 0
        decider = HumanRequest.objects.get(status="approved").decided_by
        for named in (decider.get_username(), str(decider.pk)):
            assert entries(run("audit_export", "--actor", named)) == 2

    @both_databases
    def test_the_first_characters_of_a_runs_id_are_enough_where_no_other_begins_so(self) -> None:
        def ask_as(run_id: str) -> None:
            make.approval(origin={"kind": "run", "id": run_id, "url": ""})

        ask_as("run-7")
        assert entries(run("audit_export", "--run", "run-")) == 1
        ask_as("run-71")
        assert entries(run("audit_export", "--run", "run-7")) == 1
        with pytest.raises(CommandError) as several:
            run("audit_export", "--run", "run-")
        candidates = "the ids of several runs begin with 'run-'.\n  run-7\n  run-71"
        assert (several.value.returncode, str(several.value)) == (2, f"--run must be longer: {candidates}")
        with pytest.raises(CommandError, match="--run must be an id, or its first characters, at least 4"):
            run("audit_export", "--run", "run")

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--since", "yesterday"),
            ("--since", "2026-02-30"),
            ("--since", "2026-02-02", "--until", "2026-02-01"),
            ("--until", "9999-12-31"),
            ("--actor", "nobody-of-that-name"),
            ("--out", "no/such/directory/trail"),
        ],
    )
    def test_misuse_is_refused_and_leaves_nothing(self, arguments: tuple[str, ...], tmp_path: Path) -> None:
        file = tmp_path / "trail"
        out = () if "--out" in arguments else ("--out", file)
        assert refused("audit_export", *arguments, *out)[0] == 2
        assert not file.exists()

    @pytest.mark.parametrize("arguments", [("--format", "xlsx"), ("--kind", "order")])
    def test_what_is_not_to_be_chosen_is_misuse(
        self, arguments: tuple[str, ...], manage: Manage, tmp_path: Path
    ) -> None:
        """As a process: who calls a command in a program gets the parser's own error."""
        file = tmp_path / "out" / "trail"
        file.parent.mkdir()
        assert manage("audit_export", *arguments, "--out", str(file)).wait() == 2
        assert not any(file.parent.iterdir())

    @pytest.mark.parametrize("command", [["audit_export"], ["audit_report", "--format", "csv"]])
    def test_what_is_no_file_is_not_replaced_by_one(self, command: list[str], tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        for place in (pipe, tmp_path, ".", "/"):
            assert refused(*command, "--out", place)[0] == 2
        assert [pipe.is_fifo(), *tmp_path.iterdir()] == [True, pipe]

    @pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_stopped_midway_it_leaves_what_was_there_before(
        self, how: signal.Signals, manage: Manage, tmp_path: Path
    ) -> None:
        file = tmp_path / "out" / "trail"
        file.parent.mkdir()
        file.write_text("before\n")
        approved()
        process = manage("shell", "-c", STOPPED_MIDWAY.format(file=str(file)))
        process.output.wait_for("half is written")
        process.signal(how)
        assert process.wait() != 0
        assert [file.read_text(), *(path.name for path in file.parent.iterdir())] == ["before\n", "trail"]

    def test_who_ignores_a_stop_is_not_stopped(self, tmp_path: Path) -> None:
        """As `nohup` has it: the terminal is closed, and the file is written to its end."""
        file = tmp_path / "trail"
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with write_whole(file) as opened:
                os.kill(os.getpid(), signal.SIGHUP)
                opened.write("all of it")
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        finally:
            signal.signal(signal.SIGHUP, before)
        assert file.read_text() == "all of it"

    def test_an_error_midway_leaves_what_was_there_before(self, tmp_path: Path) -> None:
        file = tmp_path / "trail"
        file.write_text("before\n")
        with pytest.raises(UnicodeEncodeError):
            write(file, "half of it", "\udc80")
        assert [file.read_text(), *tmp_path.iterdir()] == ["before\n", file]


STOPPED_MIDWAY = """
import sys, threading
from approvals.management.commands import audit_export
def lines():
    yield "half of it"
    print("half is written", flush=True)
    threading.Event().wait(60)
from pathlib import Path
audit_export._write(Path({file!r}), lines())
"""


def write(file: Path, *lines: str) -> None:
    with write_whole(file) as opened:
        opened.writelines(lines)


def entries(text: str) -> int:
    return text.count('"record":"entry"')
