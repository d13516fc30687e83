"""Apps of one's own in this site: README's example, from its text to a decision, and what goes wrong."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import checks
from pytest_django import Settings

from config.checks import check_apps_dir
from orchestration.models import Run
from tests import factories as make
from tests.conftest import Manage, Serve
from tests.processes import PROJECT, bare_environment, run_manage
from tests.stacks import Stack

README = (PROJECT / "README.md").read_text(encoding="utf-8")


def printed(name: str) -> str:
    """The example of README with this name."""
    (text,) = re.findall(rf"<!-- {name} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    return str(text)


@pytest.fixture
def apps(tmp_path: Path) -> Path:
    folder = tmp_path / "apps"
    folder.mkdir(mode=0o755)
    return folder


def installed(apps: Path, names: str) -> dict[str, str]:
    return {"SAYSO_APPS": names, "SAYSO_APPS_DIR": str(apps)}


@pytest.mark.processes
@pytest.mark.one_stack
def test_the_example_of_readme_goes_from_its_text_to_a_decision(
    apps: Path, stack: Stack, manage: Manage, serve: Serve
) -> None:
    (apps / "refunds").mkdir()
    (apps / "refunds" / "orchestrations.py").write_text(printed("own orchestration"))
    export, command = printed("own orchestration, started").splitlines()
    environment = stack.environment | installed(apps, export.removeprefix("export SAYSO_APPS="))
    make.user("ana")
    serve(**installed(apps, "refunds"))

    def said(*arguments: str) -> Any:
        ended = run_manage(*arguments, "--as", "ana", environment=environment)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def asked() -> str:
        for _ in range(200):
            for request in json.loads(said("requests", "--json")):
                return str(request["id"])
        raise AssertionError("nothing was asked")

    said(*shlex.split(command)[2:], "--detach")
    said("decide", asked(), "approve")
    said("answer", asked(), "damaged")
    run = Run.objects.get()
    result = said("orchestrate", "--attach", str(run.pk)).splitlines()[-1]
    assert result == "12.40 paid back for order 812"
    assert run.owner == User.objects.get()


@pytest.mark.processes
@pytest.mark.one_stack
def test_a_new_orchestration_is_listed_runs_and_passes_its_test(apps: Path, stack: Stack) -> None:
    written = run_manage(
        "new_orchestration", "refunds", environment=stack.environment | {"SAYSO_APPS_DIR": str(apps)}
    )
    assert written.returncode == 0, written.stderr
    environment = stack.environment | installed(apps, "refunds")

    listed = run_manage("orchestrations", environment=environment)
    assert "refunds\t1\tRefunds\torder: int, amount: str\trefunds.orchestrations\n" in listed.stdout
    tested = run_manage("test", "refunds", environment=environment)
    assert tested.returncode == 0, tested.stderr
    assert "Ran 2 tests" in tested.stderr
    make.user("ana")
    line = (apps / "README.md").read_text().splitlines()[-1]
    (command,) = re.findall(r"`manage\.py (orchestrate .*?)`", line)
    started = run_manage(*shlex.split(command), "--detach", "--as", "ana", environment=environment)
    assert started.returncode == 0, started.stderr
    assert Run.objects.get().orchestration == "refunds"


@pytest.mark.processes
def test_apps_come_from_pythonpath_too(tmp_path: Path, manage: Manage, stack: Stack) -> None:
    (tmp_path / "lib" / "shop" / "jobs").mkdir(parents=True)
    (tmp_path / "lib" / "shop" / "jobs" / "orchestrations.py").write_text(printed("own orchestration"))
    environment = stack.environment | {"SAYSO_APPS": "shop.jobs", "PYTHONPATH": str(tmp_path / "lib")}

    listing = manage("orchestrations", environment=environment, anew=True)

    assert listing.wait() == 0
    assert "shop.jobs.orchestrations" in listing.output.text


@pytest.mark.processes
@pytest.mark.parametrize(
    ("names", "text"),
    [
        (
            "refunds",
            "SAYSO_APPS: 'refunds' can't be imported: ModuleNotFoundError: No module named 'refunds'",
        ),
        ("broken", "SAYSO_APPS: 'broken' can't be imported: NameError: name 'missing' is not defined"),
        ("approvals", "SAYSO_APPS: 'approvals' is installed already"),
    ],
)
def test_what_can_not_be_imported_is_named_with_the_setting(
    apps: Path, tmp_path: Path, names: str, text: str
) -> None:
    (apps / "broken").mkdir()
    (apps / "broken" / "__init__.py").write_text("missing\n")
    environment = bare_environment() | {"SAYSO_VAR": str(tmp_path / "var")} | installed(apps, names)

    ended = run_manage("check", environment=environment)

    assert ended.returncode == 1
    assert text in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize(("mode", "refused"), [(0o755, False), (0o757, True), (0o700, False), (0o722, True)])
def test_a_folder_that_others_may_write_is_refused(
    apps: Path, settings: Settings, mode: int, refused: bool
) -> None:
    settings.SAYSO_APPS, settings.SAYSO_APPS_DIR = ["refunds"], apps
    apps.chmod(mode)

    found = list(check_apps_dir())

    assert [each.id for each in found] == (["sayso.E050"] if refused else [])
    assert all(isinstance(each, checks.Error) and "SAYSO_APPS_DIR" in each.msg for each in found)


def test_code_in_it_that_others_may_write_is_refused(apps: Path, settings: Settings) -> None:
    settings.SAYSO_APPS, settings.SAYSO_APPS_DIR = ["shop.jobs"], apps
    code = apps / "shop" / "jobs" / "orchestrations.py"
    code.parent.mkdir(parents=True)
    code.touch()
    for path in (code, code.parent, code.parent.parent):
        path.chmod(0o777)
        (found,) = check_apps_dir()
        assert f"others may write {path}," in found.msg
        path.chmod(0o755)
    (apps / "other.py").touch(0o666)
    assert not list(check_apps_dir())


def test_a_folder_is_not_looked_at_where_nothing_is_installed_from_it(apps: Path, settings: Settings) -> None:
    settings.SAYSO_APPS, settings.SAYSO_APPS_DIR = [], apps
    apps.chmod(0o777)
    assert not list(check_apps_dir())
