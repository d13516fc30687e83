"""Where a command's words go: colours and tables on a terminal, stable plain lines elsewhere.

Titles and arguments come from others, so control characters are shown, never obeyed: no text may move the
cursor, recolour a question or hide a part of it.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO, cast

from django.core.management.base import CommandError, OutputWrapper
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

# Line ends and tabs, and the joiners that emoji and several scripts need.
_KEPT = "\n\t\u200c\u200d"


class Misuse(CommandError):
    """The command was called in a way that can't work; nothing happened. Exit status 2."""

    def __init__(self, message: str) -> None:
        super().__init__(message, returncode=2)


class Refused(CommandError):
    """The command was understood and refused. Exit status 1."""


class Screen:
    """One output stream, as its reader can take it."""

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
        """One paragraph; elsewhere one line."""
        if self.is_terminal:
            self._console.print(Text(visible(text), style=style))
        else:
            self._stream.write(one_line(text))

    def text(self, text: str) -> None:
        """Several lines as they are, but for what would act on a terminal."""
        if self.is_terminal:
            self._console.print(Text(visible(text)))
        else:
            self._stream.write(text)

    def prompt(self, text: str) -> None:
        """A question whose answer is typed on the same line."""
        self._console.print(Text(visible(text), style="bold"), end=" ")
        self._console.file.flush()

    def end_prompt(self) -> None:
        """Leave the line of a question that nobody answered here."""
        self._console.print()

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
        """Rows under headings; elsewhere tab-separated lines without headings."""
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
        """Names and values in a frame, JSON as an outline; elsewhere `name: value` lines, JSON as it is."""
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
        self.panel(grid, title=title, style=style)

    def panel(self, *parts: RenderableType, title: str = "", style: str = "dim") -> None:
        """What belongs together, in a frame; for terminals only."""
        heading = Text(visible(title), style="bold") if title else None
        self._console.print(Panel(Group(*parts), title=heading, title_align="left", border_style=style))

    def json(self, value: Any) -> None:
        """For machines: one JSON document, the same on a terminal and elsewhere."""
        self._stream.write(json.dumps(value, ensure_ascii=not self.is_terminal, indent=2))


def as_text(value: Any) -> str:
    """Texts as they are, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def visible(text: str) -> str:
    """`text` with everything that acts on a terminal, or reorders what is read, written out."""
    return "".join(_escape(character) for character in text)


def one_line(text: str) -> str:
    """`text` as one field of one line: tabs and line ends written out as well."""
    return visible(text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n"))


def _escape(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _outline(value: Any) -> Iterator[str]:
    """JSON for people: a line for each value, what belongs together indented. No text can pass for a name."""
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
    return name if name.isidentifier() else json.dumps(name, ensure_ascii=False)


def _cell(cell: str | Text) -> Text:
    return Text(visible(cell)) if isinstance(cell, str) else cell
