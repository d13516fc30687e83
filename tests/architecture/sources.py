"""The project's own source files, parsed."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.processes import PROJECT

PACKAGES = ("approvals", "orchestration", "config")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One module. `path` is relative to the project, with forward slashes."""

    path: str
    text: str
    tree: ast.Module

    def __str__(self) -> str:
        return self.path

    def nodes(self) -> Iterator[ast.AST]:
        return ast.walk(self.tree)

    def at(self, node: ast.AST) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}"


@functools.cache
def product() -> tuple[Source, ...]:
    """Every module that ships; migrations are generated and left out."""
    folders = [PROJECT / package for package in PACKAGES]
    files = [file for folder in folders for file in folder.rglob("*.py") if "migrations" not in file.parts]
    return tuple(_parsed(file) for file in sorted([*files, PROJECT / "manage.py"]))


@functools.cache
def sources_of_tests() -> tuple[Source, ...]:
    return tuple(_parsed(file) for file in sorted((PROJECT / "tests").rglob("*.py")))


def _parsed(file: Path) -> Source:
    text = file.read_text(encoding="utf-8")
    return Source(path=file.relative_to(PROJECT).as_posix(), text=text, tree=ast.parse(text, str(file)))
