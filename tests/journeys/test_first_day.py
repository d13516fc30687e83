"""Backup and restore by docs/first-day.md, word for word, on an installation that works meanwhile."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.processes import PROJECT, Server, run_manage
from tests.stacks import Stack

pytestmark = [pytest.mark.processes]

PAGE = (PROJECT / "docs" / "first-day.md").read_text(encoding="utf-8")

PEOPLE = """
from django.contrib.auth.models import Group, User
from approvals import gate
sam = User.objects.create_user("sam")
sam.groups.add(Group.objects.get(name="reviewer"))
for title in ("Decided before", "Decided after", "Left open"):
    gate.open_approval(title, timeout=None)
"""


def block(name: str) -> str:
    (text,) = re.findall(rf"<!-- {name} -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
    return str(text)


def follow(name: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Run a block of the page in a shell, in a folder that looks like a checkout; return what it printed."""
    _look_like_checkout(folder)
    done = subprocess.run(
        ["sh", "-e", "-c", block(name)],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _look_like_checkout(folder: Path) -> None:
    python = folder / ".venv" / "bin" / "python"
    if python.exists():
        return
    python.parent.mkdir(parents=True)
    # A link to the interpreter would lose the packages of its environment.
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (folder / "manage.py").symlink_to(PROJECT / "manage.py")


def said(environment: Mapping[str, str], *arguments: str) -> str:
    ended = run_manage(*arguments, environment=environment)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def states(environment: Mapping[str, str]) -> dict[str, str]:
    listed = json.loads(said(environment, "requests", "--as", "sam", "--status", "all", "--json"))
    return {request["title"]: request["status"] for request in listed}


@pytest.mark.one_stack
def test_a_backup_of_a_running_installation_can_be_restored(stack: Stack, tmp_path: Path) -> None:
    """What was decided before it is decided and verifies; what was decided after it is open again."""
    var, folder = tmp_path / "var", tmp_path / "checkout"
    folder.mkdir()
    var.mkdir(mode=0o700)
    environment = stack.fresh_environment(var)
    del environment["SAYSO_SECRET_KEY"]  # it makes one of its own
    with Server(environment=environment).ready() as server:
        said(environment, "shell", "--no-imports", "-c", PEOPLE)
        ids = {
            request["title"]: request["id"]
            for request in json.loads(said(environment, "requests", "--as", "sam", "--json"))
        }
        said(environment, "decide", ids["Decided before"], "approve", "--as", "sam")
        follow("backup", folder, environment)
        said(environment, "decide", ids["Decided after"], "reject", "--as", "sam")
        assert server.terminate() == 0
    (backup,) = folder.glob("backup-*")
    assert {path.name: path.stat().st_mode & 0o777 for path in backup.iterdir()} == {
        "sayso.sqlite3": 0o600,
        "secret_key": 0o600,
    }
    key = (var / "secret_key").read_bytes()
    (var / "secret_key").unlink()
    assert "The trail holds." in follow("restore", folder, environment)
    assert (var / "secret_key").read_bytes() == key
    open_again = {"Decided before": "approved", "Decided after": "pending", "Left open": "pending"}
    assert states(environment) == open_again
    said(environment, "decide", ids["Decided after"], "approve", "--as", "sam")
    assert states(environment) == open_again | {"Decided after": "approved"}
