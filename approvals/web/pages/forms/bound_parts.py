"""The parts of a form as a template walks through them: each with its bound field and what is inside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django import forms

from approvals.web.pages.forms.parts import NEW, Branch, Group, Leaf, Part, Row, Rows, Variants

if TYPE_CHECKING:
    from approvals.web.pages.forms.plain_form import PlainForm


@dataclass(frozen=True, slots=True)
class BoundRow:
    form: PlainForm
    row: Row
    of: Rows

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def part(self) -> BoundPart:
        return BoundPart(self.form, self.row.part)

    @property
    def address(self) -> str:
        """What the button that removes it sends."""
        return f"{self.form.add_prefix(self.of.name)}[{self.row.id}]"

    @property
    def id_prefix(self) -> str:
        """How the ids of its inputs begin."""
        return as_id(f"id_{self.address}")

    @property
    def is_new(self) -> bool:
        return self.form.new_row == self.address


@dataclass(frozen=True, slots=True)
class BoundBranch:
    form: PlainForm
    branch: Branch
    of: Variants

    @property
    def id(self) -> str:
        return self.branch.id

    @property
    def label(self) -> str:
        return self.branch.label

    @property
    def part(self) -> BoundPart:
        return BoundPart(self.form, self.branch.part)

    @property
    def chosen(self) -> bool:
        return self.branch.id == self.of.chosen


@dataclass(frozen=True, slots=True)
class BoundPart:
    form: PlainForm
    part: Part

    @property
    def kind(self) -> str:
        return self.part.kind

    @property
    def label(self) -> str:
        return self.part.label

    @property
    def hint(self) -> str:
        return self.part.hint

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
    def skeleton(self) -> str:
        return self.part.skeleton if isinstance(self.part, Leaf) else ""

    @property
    def schema(self) -> str:
        return self.part.schema if isinstance(self.part, Leaf) else ""

    @property
    def parts(self) -> Iterator[BoundPart]:
        inside = self.part.parts.values() if isinstance(self.part, Group) else ()
        return (BoundPart(self.form, one) for one in inside)

    @property
    def switched(self) -> bool:
        return isinstance(self.part, Group) and self.part.switch is not None

    @property
    def on(self) -> bool:
        return not isinstance(self.part, Group) or self.part.on

    @property
    def rows(self) -> list[BoundRow]:
        rows = self.part.rows if isinstance(self.part, Rows) else []
        return [BoundRow(self.form, row, self.part) for row in rows if isinstance(self.part, Rows)]

    @property
    def blank(self) -> BoundRow | None:
        if not isinstance(self.part, Rows):
            return None
        return BoundRow(self.form, Row(id=NEW, part=self.part.blank), self.part)

    @property
    def most(self) -> int | None:
        return self.part.most if isinstance(self.part, Rows) else None

    @property
    def entry(self) -> str:
        """What one of the rows is called."""
        return self.part.blank.label if isinstance(self.part, Rows) else ""

    @property
    def branches(self) -> list[BoundBranch]:
        branches = self.part.branches if isinstance(self.part, Variants) else []
        return [BoundBranch(self.form, one, self.part) for one in branches if isinstance(self.part, Variants)]

    @property
    def may_be_none(self) -> bool:
        return isinstance(self.part, Variants) and not self.part.chooser.required

    @property
    def none_chosen(self) -> bool:
        return isinstance(self.part, Variants) and self.part.chosen == ""


def as_id(name: str) -> str:
    """A name as an HTML id: `.` as two dashes, what is no letter, digit or `_` as its code between dashes."""
    return "".join(_as_id(character) for character in name)


def _as_id(character: str) -> str:
    if character == ".":
        return "--"
    plain = character.isascii() and (character.isalnum() or character == "_")
    return character if plain else f"-{ord(character):x}-"
