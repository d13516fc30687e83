"""docs/orchestrations.md describes everything on Run and what registers: each argument, each default."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from approvals.gate import OMITTED
from orchestration import Run, agent, orchestration
from tests.processes import PROJECT

DOCUMENT = (PROJECT / "docs" / "orchestrations.md").read_text(encoding="utf-8")
# For the code that executes a run.
INTERNAL = {"record", "replay", "take_up"}

METHODS = {
    name: function
    for name, function in inspect.getmembers(Run, inspect.isfunction)
    if not name.startswith("_") and name not in INTERNAL
}


def documented_arguments(called: str) -> list[tuple[str, str]]:
    """Name and default of each row below the heading."""
    (section,) = re.findall(
        rf"^### `[^`]*{re.escape(called)}\(…\)`\n(.*?)(?=^#|\Z)", DOCUMENT, re.DOTALL | re.MULTILINE
    )
    rows = re.findall(r"^\| `([^`]+)` \|(.*?)\|", section, re.MULTILINE)
    return [(argument, default.strip(" `")) for argument, default in rows]


def arguments(function: Callable[..., Any]) -> list[tuple[str, str]]:
    parameters = inspect.signature(function).parameters.values()
    return [(_name(each), _default(each)) for each in parameters if each.name != "self"]


def _name(parameter: inspect.Parameter) -> str:
    return str(parameter).partition(":")[0].partition("=")[0]


def _default(parameter: inspect.Parameter) -> str:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return ""
    if parameter.default is parameter.empty:
        return "required"
    if parameter.default is OMITTED:
        return "omitted"
    return repr(parameter.default).replace("'", '"')


@pytest.mark.parametrize("name", METHODS)
def test_each_method_is_described_with_its_arguments_and_defaults(name: str) -> None:
    assert documented_arguments(f"run.{name}") == arguments(METHODS[name])


@pytest.mark.parametrize("decorator", [orchestration, agent])
def test_what_registers_is_described_with_its_arguments_and_defaults(decorator: Callable[..., Any]) -> None:
    assert documented_arguments(f"@{decorator.__name__}") == arguments(decorator)


@pytest.mark.parametrize("name", METHODS)
def test_what_is_awaited_is_said(name: str) -> None:
    awaited = f"### `await run.{name}(…)`" in DOCUMENT
    assert awaited is inspect.iscoroutinefunction(METHODS[name])


def test_nothing_is_described_that_there_is_not() -> None:
    assert set(re.findall(r"^### `[^`]*run\.(\w+)\(", DOCUMENT, re.MULTILINE)) == METHODS.keys()


def test_each_value_is_described() -> None:
    source = inspect.getsource(Run.__init__)
    assigned = set(re.findall(r"self\.([a-z]\w*)\b.* = ", source))
    properties = {name for name, _ in inspect.getmembers(Run, lambda each: isinstance(each, property))}
    assert (
        set(re.findall(r"^\| `run\.(\w+)` \|", DOCUMENT, re.MULTILINE)) == (assigned | properties) - INTERNAL
    )
