"""The parts of a form for a JSON value, as a tree: each knows its fields, and the value they stand for.

A part's `name` is that of its form field; the parts of a row have the row's id in theirs, which stays when
other rows go. What is checked later names spots of the value instead: `spots` tells which part each is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from django import forms

from approvals.domain.payloads import spot as spot_of
from approvals.web.pages.differences import ABSENT

Cleaned: TypeAlias = Mapping[str, Any]
NEW = "+"
"""The id of the row that new rows are copied from."""


@dataclass(kw_only=True)
class Part:
    """`active` is false for what belongs to no value: rows to copy, what is not ticked."""

    kind: ClassVar[str] = ""
    name: str
    label: str
    hint: str = ""

    def own_fields(self) -> Iterator[tuple[str, forms.Field]]:
        """The fields that are this part's alone."""
        return iter(())

    def inner(self) -> Iterator[tuple[Part, bool]]:
        """The parts inside, and whether each is active where this one is."""
        return iter(())

    def value(self, cleaned: Cleaned) -> Any:
        """The JSON value that the fields stand for; ABSENT: there is none."""
        raise NotImplementedError

    def spots(self, cleaned: Cleaned, spot: str) -> Iterator[tuple[str, Part]]:
        yield spot, self

    def fields(self) -> dict[str, forms.Field]:
        found = dict(self.own_fields())
        for part, _ in self.inner():
            found |= part.fields()
        return found

    def inactive(self) -> set[str]:
        """The names of the fields whose content says nothing."""
        names: set[str] = set()
        for part, active in self.inner():
            names |= part.inactive() if active else set(part.fields())
        return names

    def hideable(self) -> set[str]:
        """The names of the fields that are shown only once something is ticked or chosen."""
        names: set[str] = set()
        for part, _ in self.inner():
            names |= set(part.fields()) if self.can_hide else part.hideable()
        return names

    @property
    def can_hide(self) -> bool:
        return False

    @property
    def field_name(self) -> str | None:
        """Where an error about this part is shown; None: on the form."""
        return next((name for name, _ in self.own_fields()), None)


@dataclass(kw_only=True)
class Leaf(Part):
    """One field. `empty` is the value of an empty one."""

    kind: ClassVar[str] = "field"
    field: forms.Field
    empty: Any = ABSENT
    skeleton: str = ""
    schema: str = ""

    def own_fields(self) -> Iterator[tuple[str, forms.Field]]:
        yield self.name, self.field

    def value(self, cleaned: Cleaned) -> Any:
        given = cleaned.get(self.name, ABSENT)
        return self.empty if given is ABSENT else given


@dataclass(kw_only=True)
class Fixed(Part):
    """The only value there can be: nothing to ask."""

    kind: ClassVar[str] = "fixed"
    fixed: Any

    def value(self, cleaned: Cleaned) -> Any:
        return self.fixed


@dataclass(kw_only=True)
class Group(Part):
    """An object. With a `switch` it can be left out: then its value is `empty`.

    `kept` is what it held beside its properties; it stays. `order` is the order its keys were in.
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
    """One entry of a list. `untouched`: it was sent as a new row is shown, so it may be there by mistake."""

    id: str
    part: Part
    untouched: bool = False


@dataclass(kw_only=True)
class Rows(Part):
    """A list: rows that can be added and removed. `marker` holds their ids; `blank` is what a new one is."""

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
        """The rows that are entries: empty ones are none."""
        meant = [row for row in self.rows if not row.untouched]
        return [row for row in meant if row.part.value(cleaned) is not ABSENT]


@dataclass(kw_only=True)
class Branch:
    """One of several shapes that a value may have."""

    id: str
    label: str
    part: Part


@dataclass(kw_only=True)
class Variants(Part):
    """A value of one of several shapes: the one that is `chosen`."""

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
