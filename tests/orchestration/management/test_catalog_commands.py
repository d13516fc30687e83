"""The commands about orchestrations themselves: list those that are known, and write a new one."""

from __future__ import annotations

import io
import json
import keyword
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from hypothesis import example, given
from hypothesis import strategies as st
from pytest_django import Settings

from approvals.management.screen import Misuse, Refused
from orchestration.catalog import registry
from orchestration.management.commands.new_orchestration import check_name


def run(*arguments: str, **options: Any) -> str:
    output = io.StringIO()
    call_command(*arguments, stdout=output, **options)
    return output.getvalue()


class TestOrchestrations:
    def test_each_line_has_name_version_title_fields_and_module(self) -> None:
        lines = {line.split("\t")[0]: line.split("\t") for line in run("orchestrations").splitlines()}

        name, version, title, fields, module = lines["disk_cleanup"]
        assert (name, version, module) == ("disk_cleanup", "1", "orchestration.ready_made.disk_cleanup")
        assert title == "Disk cleanup"
        assert fields.startswith("directory: str, ")
        assert " (optional)" in fields
        assert lines["plan"][3] == "task: str, steps: list[dict[str, Any]]"

    def test_json_has_everything(self) -> None:
        known = {each["name"]: each for each in json.loads(run("orchestrations", "--json"))}

        checklist = known["checklist"]
        assert checklist["app"] == "orchestration"
        assert checklist["description"].startswith("Walk people through a checklist")
        assert checklist["fields"]["title"] == {"type": "str", "required": True}
        assert checklist["fields"]["timeout"] == {"type": "float | None", "required": False}

    def test_a_terminal_gets_a_table(self) -> None:
        shown = run("orchestrations", force_color=True)
        assert "Orchestration" in shown
        assert "app orchestration" in shown
        assert "Start one with: manage.py orchestrate NAME" in shown

    def test_what_could_not_be_imported_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(registry._broken, "shop.orchestrations", "SyntaxError: no")
        errors = io.StringIO()
        run("orchestrations", stderr=errors)
        assert errors.getvalue() == "shop.orchestrations could not be imported: SyntaxError: no\n"


class TestNewOrchestration:
    @pytest.fixture
    def folder(self, tmp_path: Path, settings: Settings) -> Path:
        settings.SAYSO_APPS_DIR = tmp_path / "apps"
        return tmp_path / "apps"

    def test_it_writes_an_app_and_says_what_to_set(self, folder: Path) -> None:
        said = run("new_orchestration", "refunds")

        assert sorted(path.name for path in (folder / "refunds").iterdir()) == [
            "__init__.py",
            "orchestrations.py",
            "tests.py",
        ]
        assert not (folder / "refunds").stat().st_mode & 0o022
        line = (folder / "README.md").read_text().splitlines()[-1]
        assert "`SAYSO_APPS=refunds`" in line
        assert "`manage.py orchestrate refunds --input '{" in line
        assert "SAYSO_APPS_DIR" not in line
        assert line.removeprefix("- ") in said

    def test_another_folder_is_named_in_the_line(self, folder: Path, tmp_path: Path) -> None:
        run("new_orchestration", "refunds", "--directory", str(tmp_path / "mine"))
        run("new_orchestration", "payments", "--directory", str(tmp_path / "mine"))

        lines = (tmp_path / "mine" / "README.md").read_text().splitlines()
        assert len([line for line in lines if f"`SAYSO_APPS_DIR={tmp_path / 'mine'}`" in line]) == 2

    @pytest.mark.parametrize(
        "name", ["my-refunds", "1st", "class", "", "Refunds", "naïve", "../up", "r" * 51]
    )
    def test_what_is_no_module_name_is_misuse(self, folder: Path, name: str) -> None:
        with pytest.raises(Misuse, match=r"^NAME: "):
            run("new_orchestration", name)
        assert not folder.exists()

    @given(st.text())
    @example("refunds")
    def test_only_lower_case_identifiers_are_names(self, name: str) -> None:
        fits = re.fullmatch(r"[a-z_][a-z0-9_]{0,49}", name) and not keyword.iskeyword(name)
        with nullcontext() if fits else pytest.raises(Misuse):
            check_name(name)

    @pytest.mark.parametrize("name", ["json", "approvals", "django", "auth", "checklist"])
    def test_names_that_are_taken_are_refused(self, folder: Path, name: str) -> None:
        with pytest.raises(Refused, match=f"^NAME: there is an? .*'{name}' already"):
            run("new_orchestration", name)

    def test_nothing_is_written_over(self, folder: Path) -> None:
        run("new_orchestration", "refunds")
        (folder / "refunds" / "tests.py").write_text("mine")
        with pytest.raises(CommandError, match="already"):
            run("new_orchestration", "refunds")
        assert (folder / "refunds" / "tests.py").read_text() == "mine"

    def test_a_project_without_such_a_folder_says_where(self, settings: Settings) -> None:
        settings.SAYSO = {}
        with pytest.raises(Misuse, match="--directory"):
            run("new_orchestration", "refunds")
