"""Output of commands: colours and tables on a terminal, stable plain lines elsewhere.

Titles and arguments come from others, so control characters are escaped: no text may move the cursor,
recolour a question or hide a part of it.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TextIO, cast

from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from approvals.checks import SETTINGS
from approvals.domain.payloads import is_plain_name

# Line ends and tabs, and the joiners that emoji and several scripts need.
_KEPT = "\n\t\u200c\u200d"


class Misuse(CommandError):
    """The command was called with invalid options; nothing was done. Exit status 2."""

    def __init__(self, message: str) -> None:
        super().__init__(message, returncode=2)


class Refused(CommandError):
    """The command was valid, but refused. Exit status 1."""


@contextmanager
def raise_as_misuse(*errors: type[Exception]) -> Iterator[None]:
    """Turn these errors within the block into `Misuse` with their texts."""
    try:
        yield
    except errors as error:
        raise Misuse(str(error)) from error


class ScreenCommand(BaseCommand):
    """A command that writes to `screen`, its standard output, and `progress`, its standard error.

    Before it starts it checks the settings. A command that serves pages or names their addresses checks
    these, too: `requires_system_checks = "__all__"`.
    """

    requires_system_checks: Any = (SETTINGS,)

    def execute(self, *args: Any, **options: Any) -> str | None:
        self._colors = {name: options[name] for name in ("no_color", "force_color")}
        return super().execute(*args, **options)

    @cached_property
    def screen(self) -> Screen:
        return Screen(self.stdout, **self._colors)

    @cached_property
    def progress(self) -> Screen:
        return Screen(self.stderr, **self._colors)


class Screen:
    """One output stream, a terminal or not."""

    def __init__(self, stream: OutputWrapper, *, no_color: bool = False, force_color: bool = False) -> None:
        self._stream = stream
        self.is_terminal = force_color or stream.isatty()
        self._console = Console(
            file=cast("TextIO", stream._out),
            force_terminal=True if force_color else None,
            no_color=no_color or None,
            markup=False,
            emoji=False,
            highlight=False,
        )

    def say(self, text: str, style: str = "") -> None:
        """Write a paragraph; without a terminal, one line."""
        if self.is_terminal:
            self._console.print(Text(visible(text), style=style))
        else:
            self._stream.write(one_line(text))

    def text(self, text: str) -> None:
        """Write lines as they are, with control characters escaped on a terminal."""
        if self.is_terminal:
            self._console.print(Text(visible(text)))
        else:
            self._stream.write(text)

    def prompt(self, text: str) -> None:
        """Write a question whose answer is typed on the same line."""
        self._console.print(Text(visible(text), style="bold"), end=" ")
        self._console.file.flush()

    def end_prompt(self) -> None:
        """End the line of a question that was not answered here."""
        self._console.print()

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
        """Write rows under headings; without a terminal, tab-separated lines without headings."""
        if not self.is_terminal:
            for row in rows:
                self._stream.write("\t".join(one_line(str(cell)) for cell in row))
            return
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_header=any(columns))
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(_cell(cell) for cell in row))
        self._console.print(table)

    def fields(self, values: Mapping[str, Any], *, title: str = "", style: str = "dim") -> None:
        """Write names and values in a frame, JSON as an outline; without a terminal, `name: value` lines."""
        if not self.is_terminal:
            if title:
                self._stream.write(one_line(title))
            for name, value in values.items():
                self._stream.write(f"{one_line(name)}: {one_line(as_text(value))}")
            return
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="dim")
        grid.add_column(overflow="fold")
        for name, value in values.items():
            lines = [value] if isinstance(value, str) else _outline(value)
            grid.add_row(visible(name), visible("\n".join(lines)))
        heading = Text(visible(title), style="bold") if title else None
        self._console.print(Panel(grid, title=heading, title_align="left", border_style=style))

    def json(self, value: Any) -> None:
        """Write one JSON document, for machines."""
        self._stream.write(json.dumps(value, ensure_ascii=not self.is_terminal, indent=2))


def as_text(value: Any) -> str:
    """Return text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def visible(text: str) -> str:
    """Escape everything that acts on a terminal, or reorders text."""
    return "".join(_escape(character) for character in text)


def one_line(text: str) -> str:
    """Escape text as one field of one line: tabs and line ends, too."""
    return visible(text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n"))


def _escape(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _outline(value: Any) -> Iterator[str]:
    """Yield JSON as an indented outline, a line for each value; texts are quoted, unlike names."""
    match value:
        case dict() if value:
            for name, inner in value.items():
                yield from _beneath(f"{_key(name)}:", inner)
        case list() if value:
            for inner in value:
                yield from _beneath("-", inner)
        case _:
            yield json.dumps(value, ensure_ascii=False)


def _beneath(head: str, inner: Any) -> Iterator[str]:
    lines = list(_outline(inner))
    if isinstance(inner, dict | list) and inner and head != "-":
        yield head
        yield from (f"  {line}" for line in lines)
    else:
        first, *rest = lines
        yield f"{head} {first}"
        yield from (f"  {line}" for line in rest)


def _key(name: str) -> str:
    return name if is_plain_name(name) else json.dumps(name, ensure_ascii=False)


def _cell(cell: str | Text) -> Text:
    return Text(visible(cell)) if isinstance(cell, str) else cell
