"""What docs/deployment.md shows is what works: its environment passes the checks, its table is whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import Manage
from tests.processes import PROJECT, bare_environment
from tests.stacks import Stack

PAGE = (PROJECT / "docs" / "deployment.md").read_text()
SETTINGS = (PROJECT / "config" / "settings.py").read_text()


def block(mark: str) -> str:
    """The code block after a mark in the page."""
    found = re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found, f"no block marked {mark}"
    return found[1]


def environment() -> dict[str, str]:
    return dict(line.split("=", 1) for line in block("environment").splitlines())


@pytest.mark.stacks("postgresql-redis")
def test_the_environment_passes_every_check(stack: Stack, manage: Manage, tmp_path: Path) -> None:
    """But for the addresses, as it is in the page."""
    there = {name: stack.environment[name] for name in ("DATABASE_URL", "REDIS_URL")}
    given = bare_environment() | environment() | there | {"SAYSO_VAR": str(tmp_path)}
    checked = manage(
        "check", "--deploy", "--database", "default", "--fail-level", "WARNING", environment=given
    )
    assert checked.wait() == 0, checked.output.text


@pytest.mark.one_stack
@pytest.mark.parametrize("variable", ["SAYSO_SECRET_KEY", "SAYSO_TRUSTED_ORIGINS", "REDIS_URL", "EMAIL_FROM"])
def test_what_is_missing_from_it_is_named(
    manage: Manage, stack: Stack, tmp_path: Path, variable: str
) -> None:
    given = bare_environment() | environment() | {"SAYSO_VAR": str(tmp_path)}
    del given[variable]
    checked = manage("check", "--deploy", "--fail-level", "WARNING", environment=given)
    assert checked.wait() == 1
    words = {"SAYSO_SECRET_KEY": "secret key", "SAYSO_TRUSTED_ORIGINS": "SECURE_"}
    assert words.get(variable, variable) in checked.output.text


def test_every_variable_is_explained() -> None:
    """Whatever the settings read from the environment, but for what other projects document."""
    read = set(re.findall(r"\"((?:SAYSO_|WEB_)[A-Z_]+|[A-Z]+_URL)\"", SETTINGS))
    assert "SAYSO_ENGINE" in read
    missing = {name for name in read if f"`{name}`" not in PAGE}
    assert not missing
