"""The project's own source files, each read and parsed when a test first looks into it."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.processes import PROJECT

PACKAGES = ("approvals", "orchestration", "config")


@dataclass(frozen=True)
class Source:
    """One module. `path` is relative to the project, with forward slashes."""

    path: str

    @functools.cached_property
    def text(self) -> str:
        return (PROJECT / self.path).read_text(encoding="utf-8")

    @functools.cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

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
    return _sources([*files, PROJECT / "manage.py"])


@functools.cache
def sources_of_tests() -> tuple[Source, ...]:
    return _sources((PROJECT / "tests").rglob("*.py"))


def _sources(files: Iterable[Path]) -> tuple[Source, ...]:
    return tuple(Source(file.relative_to(PROJECT).as_posix()) for file in sorted(files))
