"""The parts of a form for a JSON value, as a tree: each has its fields, and makes its part of the value.

A part's `name` is that of its form field; the parts of a row have the row's id in it, which stays the same
when other rows are removed. Errors name spots of the value instead: `spots` maps these to parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from django import forms

from approvals.domain.payloads import spot as spot_of
from approvals.web.pages.json_values import ABSENT

Cleaned: TypeAlias = Mapping[str, Any]
NEW = "+"
"""The id of the row that new rows are copied from."""


@dataclass(kw_only=True)
class Part:
    """One part of the form, for one part of the value."""

    kind: ClassVar[str] = ""
    name: str
    label: str
    hint: str = ""

    def own_fields(self) -> Iterator[tuple[str, forms.Field]]:
        """Yield the fields of this part alone, by name."""
        return iter(())

    def inner(self) -> Iterator[tuple[Part, bool]]:
        """Yield the parts inside, each with whether it counts when this one does."""
        return iter(())

    def value(self, cleaned: Cleaned) -> Any:
        """Return the JSON value of the cleaned fields; ABSENT if there is none."""
        raise NotImplementedError

    def spots(self, cleaned: Cleaned, spot: str) -> Iterator[tuple[str, Part]]:
        """Yield the spots of the value from `spot` on, each with its part."""
        yield spot, self

    def fields(self) -> dict[str, forms.Field]:
        found = dict(self.own_fields())
        for part, _ in self.inner():
            found |= part.fields()
        return found

    def inactive(self) -> set[str]:
        """Return the names of the fields that do not count: of rows to copy, of what is not ticked."""
        names: set[str] = set()
        for part, active in self.inner():
            names |= part.inactive() if active else set(part.fields())
        return names

    def hideable(self) -> set[str]:
        """Return the names of the fields that are shown only when something is ticked or chosen."""
        names: set[str] = set()
        for part, _ in self.inner():
            names |= set(part.fields()) if self.can_hide else part.hideable()
        return names

    @property
    def can_hide(self) -> bool:
        return False

    @property
    def field_name(self) -> str | None:
        """The field that shows errors about this part; None: the form does."""
        return next((name for name, _ in self.own_fields()), None)


@dataclass(kw_only=True)
class Leaf(Part):
    """One field. `empty` is its value when it is left empty; `example` and `schema` are shown beside it."""

    kind: ClassVar[str] = "field"
    field: forms.Field
    empty: Any = ABSENT
    example: str = ""
    schema: str = ""

    def own_fields(self) -> Iterator[tuple[str, forms.Field]]:
        yield self.name, self.field

    def value(self, cleaned: Cleaned) -> Any:
        given = cleaned.get(self.name, ABSENT)
        return self.empty if given is ABSENT else given


@dataclass(kw_only=True)
class Fixed(Part):
    """The only value that is possible, so nothing is asked."""

    kind: ClassVar[str] = "fixed"
    fixed: Any

    def value(self, cleaned: Cleaned) -> Any:
        return self.fixed


@dataclass(kw_only=True)
class Group(Part):
    """An object. With a `switch` it can be left out: then its value is `empty`.

    `kept` is what it held beside its properties, and stays; `order` is the order its keys were in.
    """

    kind: ClassVar[str] = "group"
    parts: dict[str, Part]
    kept: dict[str, Any] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    switch: forms.Field | None = None
    on: bool = True
    empty: Any = ABSENT

    def own_fields(self) -> Iterator[tuple[str, forms.Field]]:
        if self.switch is not None:
            yield self.name, self.switch

    def inner(self) -> Iterator[tuple[Part, bool]]:
        yield from ((part, self.on) for part in self.parts.values())

    @property
    def can_hide(self) -> bool:
        return self.switch is not None

    def value(self, cleaned: Cleaned) -> Any:
        if not self.on:
            return self.empty
        filled = {key: part.value(cleaned) for key, part in self.parts.items()}
        value = self.kept | {key: one for key, one in filled.items() if one is not ABSENT}
        return {key: value[key] for key in dict.fromkeys([*self.order, *filled]) if key in value}

    def spots(self, cleaned: Cleaned, spot: str) -> Iterator[tuple[str, Part]]:
        yield spot, self
        if self.on:
            for key, part in self.parts.items():
                yield from part.spots(cleaned, spot_of(spot, [key]))


@dataclass(kw_only=True)
class Row:
    """One entry of a list. `untouched`: new and as it was first shown, so it may be there by mistake."""

    id: str
    part: Part
    untouched: bool = False


@dataclass(kw_only=True)
class Rows(Part):
    """Rows that can be added and removed. `marker` holds their ids; new ones are copies of `blank`."""

    kind: ClassVar[str] = "rows"
    marker: forms.Field
    rows: list[Row]
    blank: Part
    empty: Any = ABSENT
    most: int | None = None

    def own_fields(self) -> Iterator[tuple[str, forms.Field]]:
        yield self.name, self.marker

    def inner(self) -> Iterator[tuple[Part, bool]]:
        yield from ((row.part, not row.untouched) for row in self.rows)
        yield self.blank, False

    def value(self, cleaned: Cleaned) -> Any:
        values = [row.part.value(cleaned) for row in self._filled_rows(cleaned)]
        return values or self.empty

    def spots(self, cleaned: Cleaned, spot: str) -> Iterator[tuple[str, Part]]:
        yield spot, self
        for position, row in enumerate(self._filled_rows(cleaned)):
            yield from row.part.spots(cleaned, f"{spot}[{position}]")

    def _filled_rows(self, cleaned: Cleaned) -> list[Row]:
        return [row for row in self.rows if not row.untouched and row.part.value(cleaned) is not ABSENT]


@dataclass(kw_only=True)
class Branch:
    """One of several shapes that a value may have."""

    id: str
    label: str
    part: Part


@dataclass(kw_only=True)
class Variants(Part):
    """A value of one of several shapes, that of the `chosen` branch."""

    kind: ClassVar[str] = "variants"
    chooser: forms.ChoiceField
    branches: list[Branch]
    chosen: str
    empty: Any = ABSENT

    def own_fields(self) -> Iterator[tuple[str, forms.Field]]:
        yield self.name, self.chooser

    def inner(self) -> Iterator[tuple[Part, bool]]:
        yield from ((branch.part, branch.id == self.chosen) for branch in self.branches)

    @property
    def can_hide(self) -> bool:
        return True

    def value(self, cleaned: Cleaned) -> Any:
        part = self._part()
        return self.empty if part is None else part.value(cleaned)

    def spots(self, cleaned: Cleaned, spot: str) -> Iterator[tuple[str, Part]]:
        yield spot, self
        part = self._part()
        if part is not None:
            yield from part.spots(cleaned, spot)

    def _part(self) -> Part | None:
        return next((branch.part for branch in self.branches if branch.id == self.chosen), None)
