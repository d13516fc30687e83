"""An auditor with docs/audit.md and nothing else: each command of that page, and the program, as they are."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from calendar import monthrange
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import pytest
from django.contrib.auth.models import Group

from approvals import deciding
from approvals.models import AuditEntry, Seal
from tests import factories as make
from tests.approvals.management.test_audit_commands import Receiver
from tests.conftest import Manage
from tests.marks import both_databases
from tests.processes import PROJECT, run_manage
from tests.stacks import Stack
from tests.tampering import but_untried
from tests.terminals import Terminal

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack, pytest.mark.processes]

PAGE = (PROJECT / "docs" / "audit.md").read_text()
BLOCK = re.compile(r"(?:<!-- (?P<mark>[a-z ]+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)
TITLE, ARGUMENTS = "Refund 1,240.00 EUR to ACME", {"order": 812, "amount": "1240.00"}


def blocks(language: str, mark: str | None = None) -> list[str]:
    """The page's blocks in this language, in order; None: whatever their mark."""
    found = [block for block in BLOCK.finditer(PAGE) if block["language"] == language]
    return [block["text"] for block in found if mark is None or block["mark"] == mark]


class Auditor:
    """Somebody with a shell in a directory of their own."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self.environment = {"PATH": os.environ["PATH"], **environment}
        (directory / "verify.py").write_text(blocks("python", "program")[0])

    def run(self, commands: str, **more: str) -> subprocess.CompletedProcess[str]:
        """As on the page, but with this Python, and without installing what is there."""
        lines = [line for line in commands.splitlines() if "pip install" not in line]
        text = "\n".join(lines).replace("manage.py", str(PROJECT / "manage.py"))
        return subprocess.run(
            ["sh", "-e", "-c", re.sub(r"^python ", f"{sys.executable} ", text, flags=re.MULTILINE)],
            cwd=self.directory,
            env=self.environment | more,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def succeeds(self, commands: str, **more: str) -> str:
        done = self.run(commands, **more)
        assert done.returncode == 0, (commands, done.stdout, done.stderr)
        return done.stdout

    def manages(self, *arguments: str | Path, **more: str) -> str:
        """A command without a shell, in a fork: where it is not the page's commands that are tested."""
        done = run_manage(*arguments, environment=self.environment | more)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    def seals(self) -> None:
        self.manages("audit_seal", SAYSO_SEAL_KEY=str(self.directory / "seal.pem"))

    def exports(self) -> list[str]:
        """The lines of an export of everything, which is at trail.jsonl."""
        self.manages("audit_export", "--out", self.directory / "trail.jsonl")
        return (self.directory / "trail.jsonl").read_text().splitlines(keepends=True)

    def verifies(self, *lines: str) -> bool:
        """What the program says of a file of these lines."""
        (self.directory / "other.jsonl").write_text("".join(lines))
        return self.run("python verify.py other.jsonl seal.pub").returncode == 0


@pytest.fixture
def auditor(stack: Stack, tmp_path: Path) -> Auditor:
    """Ada has approved a refund, and somebody else something else."""
    ada = make.reviewer("ada")
    request_id = make.approval(TITLE, arguments=ARGUMENTS)
    deciding.decide(make.actor(ada), request_id, "approve", comment="agreed by phone")
    # Whom the page's commands name.
    make.user("kim", groups=(Group.objects.get(name="administrator"),))
    make.user("sam")
    other = make.approval("Refund 3.00 EUR to nobody", arguments={"order": 3})
    deciding.decide(make.actor(make.reviewer("grace")), other, "reject")
    return Auditor(tmp_path, stack.environment)


@pytest.fixture
def sealed(auditor: Auditor) -> Auditor:
    for commands in blocks("sh", "sealing"):
        auditor.succeeds(commands)
    return auditor


@pytest.fixture
def sealed_at_once(auditor: Auditor) -> Auditor:
    """The same in forks."""
    public = auditor.manages("audit_seal", "--new-key", auditor.directory / "seal.pem")
    (auditor.directory / "seal.pub").write_text(public)
    auditor.seals()
    return auditor


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@both_databases
@pytest.mark.usefixtures("as_keeper")
def test_every_command_of_the_page_does_what_it_says(sealed: Auditor) -> None:
    """In order, but for sealing, which comes first here and is for others to do."""
    month = month_of(AuditEntry.objects.latest("recorded_at").recorded_at)
    commands = [block for block in blocks("sh") if block not in set_up()]
    printed = [sealed.succeeds(block.replace("2026-11-01 --until 2026-11-30", month)) for block in commands]
    assert len(printed) >= 7
    verified, by_copies, by_title, by_hash, exported, report, program = printed[:7]
    assert verified.endswith("The trail holds.\n")
    assert but_untried(by_copies.splitlines()) == ["4 entries of 2 requests, 1 seals.", "The trail holds."]
    assert ",ada,approve,agreed by phone," in by_title
    assert "nobody" not in by_title
    (found,) = by_hash.splitlines()
    assert json.loads(json.loads(found)["content"])["title"] == TITLE
    assert exported.splitlines()[0] == "4 entries of 2 requests, 1 seals."
    assert exported.endswith("The trail holds.\n")
    (total,) = [line.split("\t") for line in report.splitlines() if line.startswith("All requests")]
    assert total[1:3] == ["1", "1"]  # approved, rejected
    assert program == "2 chains and 1 seals hold; complete: True\n"


def test_a_seal_is_posted_as_the_page_shows(sealed: Auditor, receiver: Receiver) -> None:
    (commands,) = blocks("sh", "sending")
    allowed = {"SAYSO_CALLBACK_HOSTS": "127.0.0.1", "SAYSO_CALLBACK_NETWORKS": "127.0.0.0/8"}
    commands = commands.replace("https://seals.example.org/sayso", receiver.url)
    sealed.succeeds(commands, SAYSO_SEAL_KEY="seal.pem", **allowed)
    (body,) = receiver.bodies
    assert json.loads(body)["hash"] == Seal.objects.get().hash


def test_the_program_refuses_whatever_was_altered(sealed_at_once: Auditor) -> None:
    """A line changed, taken out, doubled; the end cut off; the end made anew over a changed chain."""
    sealed = sealed_at_once
    lines = sealed.exports()
    assert sealed.verifies(*lines)
    assert not sealed.verifies(*lines[:-1])
    assert not sealed.verifies(*lines[:3], *lines[4:])
    assert not sealed.verifies(*[line.replace("agreed", "denied") for line in lines])
    for damaged in (
        [*lines[:2], *lines[4:-1]],
        [line.replace("agreed", "denied") for line in lines[:-1]],
        [line.replace('\\"page\\"', '\\"api\\"') for line in lines[:-1]],
        [line.replace('"channel":"page"', '"channel":"api"') for line in lines[:-1]],
        [line.replace('"complete":true', '"complete":false') for line in lines[:-1]],
        [line for line in lines[:-1] if '"record":"seal"' not in line],
    ):
        assert damaged != lines[:-1]
        assert not sealed.verifies(*damaged, made_anew(damaged, lines[-1]))


def test_the_program_knows_which_seal_an_entry_is_under(sealed_at_once: Auditor) -> None:
    """Under each of several, and under none yet: what is left out or put elsewhere is missed by its seal."""
    sealed = sealed_at_once
    for number in range(3):
        make.approval(f"Refund {number}")
        sealed.seals()
    make.approval("Under none yet")
    *lines, end = sealed.exports()
    assert (
        sealed.run("python verify.py trail.jsonl seal.pub").stdout
        == "6 chains and 4 seals hold; complete: True\n"
    )
    opened = [line for line in lines if '\\"sequence\\":1' in line and "Refund 1\\" in line]
    assert len(opened) == 1
    left_out = [line for line in lines if line not in opened]
    moved = [re.sub(r'"id":\d+', '"id":999', line) if line in opened else line for line in lines]
    for damaged in (left_out, moved):
        assert not sealed.verifies(*damaged, made_anew(damaged, end))
    assert sealed.verifies(*lines, end)
    assert not sealed.verifies(*lines, end, end)


def test_a_terminal_shows_how_far_it_is(auditor: Auditor, stack: Stack) -> None:
    with Terminal("audit_verify", environment=stack.environment) as terminal:
        terminal.wait_for("Verifying")
        terminal.wait_for("The trail holds.")
        assert terminal.wait() == 0


def test_an_auditor_reads_everything_and_decides_nothing(manage: Manage, auditor: Auditor) -> None:
    """On the terminal, too: what may be seen is not what may be done."""
    person = make.user("otto", may=("view_humanrequest", "view_auditentry"))
    request_id = make.approval("Refund 5.00 EUR to ACME", requester=make.user())
    listed = manage("requests", "--status", "all", "--as", person.username)
    assert listed.wait() == 0
    assert TITLE in listed.output.text
    refused = manage("decide", request_id, "approve", "--as", person.username)
    assert (refused.wait(), "not do this" in refused.output.text) == (1, True)


def month_of(moment: datetime) -> str:
    """The options that choose it: the page's month is another one."""
    last = monthrange(moment.year, moment.month)[1]
    return f"{moment:%Y-%m}-01 --until {moment:%Y-%m}-{last}"


def set_up() -> set[str]:
    return {block for mark in ("sealing", "sending") for block in blocks("sh", mark)}


def made_anew(lines: list[str], end: str) -> str:
    """The end that belongs to these lines: who alters a file can write that, too."""
    from approvals.domain.payloads import canonical, digest

    return canonical(json.loads(end) | {"sha256": digest("".join(lines))}) + "\n"
