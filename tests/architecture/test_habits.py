"""Habits of the code that no linter checks."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGES, Source, product, sources_of_tests
from tests.processes import PROJECT, bare_environment

EVERYTHING = [*product(), *sources_of_tests()]
TEMPLATES = sorted(
    file
    for folder in ("templates", "approvals/templates", "orchestration/templates")
    for file in (PROJECT / folder).rglob("*.html")
    if file.name not in {"message.html", "digest.html"}  # emails, which take their style along
)

INLINE = re.compile(
    r"<style|<script(?![^>]*\bsrc=)|<[^>]*\s(style|on[a-z]+)\s*=|\bhx-on|javascript:", re.IGNORECASE
)


# The settings, and those of installations that the benchmark makes for itself.
READERS = {
    "config/settings.py",
    "orchestration/benchmark/installation.py",
    "orchestration/own_site/settings.py",
}


def test_only_the_settings_read_the_environment() -> None:
    """Everything else is told by Django's settings, typed. Entry points may say which settings those are, and
    who makes an installation of its own may hand the rest of the environment on to its processes."""
    readers = [
        source.at(node)
        for source in product()
        if source.path not in READERS
        for node in source.nodes()
        if _touches_the_environment(node) and not _names_the_settings(source, node)
    ]
    assert readers == []


def test_nothing_is_left_to_do() -> None:
    marks = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]) + r")\b")
    assert [source.path for source in EVERYTHING if marks.search(source.text)] == []


def test_modules_are_named_for_what_they_hold() -> None:
    vague = {"utils", "helpers", "common", "base", "misc"}
    assert [
        source.path for source in EVERYTHING if set(Path(source.path).with_suffix("").parts) & vague
    ] == []


def test_every_module_says_what_lives_there() -> None:
    silent = [s.path for s in EVERYTHING if s.tree.body and not ast.get_docstring(s.tree)]
    assert silent == []


def test_nobody_sleeps_in_a_test() -> None:
    """Time and order are controlled; `asyncio.sleep(0)`, which lets others run, is no sleep. Who can
    only look again and again does so by tests/looking.py."""
    assert [
        source.at(node)
        for source in sources_of_tests()
        for node in source.nodes()
        if _sleeps(node) and source.path != "tests/looking.py"
    ] == []


def test_every_silenced_type_error_names_its_code() -> None:
    bare = re.compile(r"#\s*type:\s*ignore(?!\[)")
    assert [source.path for source in EVERYTHING if bare.search(source.text)] == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.name)
def test_templates_fit_the_content_security_policy(template: Path) -> None:
    """No inline script, style or handler: the policy forbids them, so they would silently do nothing."""
    html = re.sub(r"{%.*?%}|{{.*?}}", "", template.read_text(encoding="utf-8"))
    found = INLINE.search(html)
    assert not found, found


@pytest.mark.processes
def test_importing_a_module_does_nothing() -> None:
    """No thread, no event loop, no connection, whatever is imported."""
    names = [_dotted(source) for source in product() if source.path.startswith(PACKAGES)]
    imports = [name for name in names if not name.endswith(("__main__", "asgi"))]
    code = (
        "import importlib, sys, threading, django; django.setup();"
        "[importlib.import_module(name) for name in sys.argv[1:]];"
        "from django.db import connections;"
        "print(threading.active_count(), [c.alias for c in connections.all(True) if c.connection])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *imports],
        cwd=PROJECT,
        env=bare_environment() | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stdout.strip(), result.returncode) == ("1 []", 0), result.stderr


def _touches_the_environment(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name("os"), attr="environ" | "environb" | "getenv" | "putenv"):
            return True
        case ast.ImportFrom(module="os", names=names):
            return any(name.name in {"environ", "getenv"} for name in names)
        case ast.Import(names=names):
            return any(name.name == "environ" for name in names)
    return False


def _names_the_settings(source: Source, node: ast.AST) -> bool:
    line = source.text.splitlines()[getattr(node, "lineno", 1) - 1]
    return line.strip() == 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")'


def _sleeps(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name("time"), attr="sleep")):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name("asyncio"), attr="sleep"), args=[delay, *_]):
            return not (isinstance(delay, ast.Constant) and delay.value == 0)
    return False


def _dotted(source: Source) -> str:
    return ".".join(Path(source.path).with_suffix("").parts).removesuffix(".__init__")
