"""The parts of a form as templates show them: each with its bound field and the parts inside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django import forms

from approvals.web.pages.forms.parts import NEW, Group, Part, Row, Rows, Variants

if TYPE_CHECKING:
    from approvals.web.pages.forms.plain_form import PlainForm


@dataclass(frozen=True, slots=True)
class BoundRow:
    """A row of a list. Its remove button sends `address`; the ids of its inputs begin with `id_prefix`."""

    id: str
    part: BoundPart
    address: str
    is_new: bool

    @property
    def id_prefix(self) -> str:
        return as_id(f"id_{self.address}")


@dataclass(frozen=True, slots=True)
class BoundBranch:
    """One of the shapes that a value may have."""

    id: str
    label: str
    part: BoundPart
    chosen: bool


@dataclass(frozen=True, slots=True)
class BoundPart:
    """A part in its form. Attributes that are not defined here are the part's own."""

    form: PlainForm
    part: Part

    def __getattr__(self, name: str) -> Any:
        return getattr(self.part, name)

    @property
    def is_root(self) -> bool:
        return self.form.structure is not None and self.part is self.form.structure.root

    @property
    def field(self) -> forms.BoundField | None:
        name = self.part.field_name
        return None if name is None else self.form[name]

    @property
    def html_name(self) -> str:
        return self.form.add_prefix(self.part.name)

    @property
    def parts(self) -> Iterator[BoundPart]:
        inside = self.part.parts.values() if isinstance(self.part, Group) else ()
        return (BoundPart(self.form, one) for one in inside)

    @property
    def rows(self) -> list[BoundRow]:
        return [self._row(row) for row in self.part.rows] if isinstance(self.part, Rows) else []

    @property
    def blank(self) -> BoundRow | None:
        """The row that new rows are copied from."""
        return self._row(Row(id=NEW, part=self.part.blank)) if isinstance(self.part, Rows) else None

    @property
    def branches(self) -> list[BoundBranch]:
        if not isinstance(self.part, Variants):
            return []
        return [
            BoundBranch(one.id, one.label, BoundPart(self.form, one.part), one.id == self.part.chosen)
            for one in self.part.branches
        ]

    def _row(self, row: Row) -> BoundRow:
        address = f"{self.html_name}[{row.id}]"
        return BoundRow(row.id, BoundPart(self.form, row.part), address, address == self.form.new_row)


def as_id(name: str) -> str:
    """Write a name as an HTML id: `.` as two dashes, other special characters as codes between dashes."""
    return "".join(_as_id(character) for character in name)


def _as_id(character: str) -> str:
    if character == ".":
        return "--"
    plain = character.isascii() and (character.isalnum() or character == "_")
    return character if plain else f"-{ord(character):x}-"
