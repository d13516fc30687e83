"""The parts of a form for a JSON value, as a tree: each has its field, and makes its part of the value.

A part's `name` is that of its form field; the parts of a row have the row's id in it, which stays the same
when other rows are removed. Errors name spots of the value instead: `spots` maps these to parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

from django import forms

from approvals.domain.payloads import spot as spot_of
from approvals.web.pages.forms.submission import is_within
from approvals.web.pages.json_values import ABSENT

Cleaned: TypeAlias = Mapping[str, Any]
NEW = "+"
"""The id of the row that new rows are copied from."""


@dataclass(kw_only=True)
class Part:
    """One part of the form, for one part of the value, which is `empty` if nothing is filled in."""

    kind: ClassVar[str]
    hides: ClassVar[bool] = False
    """What is inside is shown only when the part's own field is ticked or chosen."""
    name: str
    label: str
    hint: str = ""
    field: forms.Field | None = None
    empty: Any = ABSENT

    def inner(self) -> Iterator[tuple[Part, bool]]:
        """Yield the parts inside, each with whether it counts when this one does."""
        return iter(())

    def value(self, cleaned: Cleaned) -> Any:
        """Return the JSON value of the cleaned fields; ABSENT if there is none."""
        raise NotImplementedError

    def inner_spots(self, cleaned: Cleaned, spot: str) -> Iterator[tuple[str, Part]]:
        """Yield the spots of the parts inside that count, if this part is at `spot`."""
        return iter(())

    def spots(self, cleaned: Cleaned, spot: str) -> Iterator[tuple[str, Part]]:
        """Yield the spots of the value from `spot` on, each with its part."""
        yield spot, self
        for inner, part in self.inner_spots(cleaned, spot):
            yield from part.spots(cleaned, inner)

    def at(self, cleaned: Cleaned, spot: str) -> tuple[Part, str]:
        """Find the part closest to a spot such as `answer.lines[2].sum`, and the rest of the way to it."""
        closest, length = self, len(self.name)
        for known, part in self.spots(cleaned, self.name):
            if length <= len(known) <= len(spot) and is_within(spot, known):
                closest, length = part, len(known)
        return closest, spot[length:]

    @cached_property
    def fields(self) -> dict[str, forms.Field]:
        """All fields from this part on, by name."""
        found = {} if self.field is None else {self.name: self.field}
        for part, _ in self.inner():
            found |= part.fields
        return found

    @cached_property
    def inactive(self) -> set[str]:
        """The names of the fields that do not count: of rows to copy, of what is not ticked."""
        return {name for part, active in self.inner() for name in (part.inactive if active else part.fields)}

    @cached_property
    def hideable(self) -> set[str]:
        """The names of the fields that a page may hide: a browser must not require them."""
        hides = self.hides and self.field is not None
        return {name for part, _ in self.inner() for name in (part.fields if hides else part.hideable)}


@dataclass(kw_only=True)
class Leaf(Part):
    """One field, with an `example` and the `schema` beside it."""

    kind: ClassVar[str] = "field"
    field: forms.Field
    example: str = ""
    schema: str = ""

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
    """An object. With a field, a tick, it can be left out.

    `kept` is what it held beside its properties, and stays; `order` is the order its keys were in.
    """

    kind: ClassVar[str] = "group"
    hides: ClassVar[bool] = True
    parts: dict[str, Part]
    kept: dict[str, Any] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    on: bool = True

    def inner(self) -> Iterator[tuple[Part, bool]]:
        yield from ((part, self.on) for part in self.parts.values())

    def value(self, cleaned: Cleaned) -> Any:
        if not self.on:
            return self.empty
        filled = {key: part.value(cleaned) for key, part in self.parts.items()}
        value = self.kept | {key: one for key, one in filled.items() if one is not ABSENT}
        return {key: value[key] for key in dict.fromkeys([*self.order, *filled]) if key in value}

    def inner_spots(self, cleaned: Cleaned, spot: str) -> Iterator[tuple[str, Part]]:
        if self.on:
            yield from ((spot_of(spot, [key]), part) for key, part in self.parts.items())


@dataclass(kw_only=True)
class Row:
    """One entry of a list. `untouched`: new and as it was first shown, so it may be there by mistake."""

    id: str
    part: Part
    untouched: bool = False


@dataclass(kw_only=True)
class Rows(Part):
    """Rows that can be added and removed. The field holds their ids; new ones are copies of `blank`."""

    kind: ClassVar[str] = "rows"
    rows: list[Row]
    blank: Part
    most: int | None = None

    def inner(self) -> Iterator[tuple[Part, bool]]:
        yield from ((row.part, not row.untouched) for row in self.rows)
        yield self.blank, False

    def value(self, cleaned: Cleaned) -> Any:
        return [part.value(cleaned) for part in self._filled(cleaned)] or self.empty

    def inner_spots(self, cleaned: Cleaned, spot: str) -> Iterator[tuple[str, Part]]:
        for position, part in enumerate(self._filled(cleaned)):
            yield f"{spot}[{position}]", part

    def _filled(self, cleaned: Cleaned) -> list[Part]:
        counting = [row.part for row in self.rows if not row.untouched]
        return [part for part in counting if part.value(cleaned) is not ABSENT]


@dataclass(kw_only=True)
class Variants(Part):
    """A value of one of several shapes, which have ids: that of the branch `chosen`, if any."""

    kind: ClassVar[str] = "variants"
    hides: ClassVar[bool] = True
    branches: dict[str, Part]
    chosen: str

    def inner(self) -> Iterator[tuple[Part, bool]]:
        yield from ((part, name == self.chosen) for name, part in self.branches.items())

    def value(self, cleaned: Cleaned) -> Any:
        part = self.branches.get(self.chosen)
        return self.empty if part is None else part.value(cleaned)

    def inner_spots(self, cleaned: Cleaned, spot: str) -> Iterator[tuple[str, Part]]:
        if self.chosen in self.branches:
            yield spot, self.branches[self.chosen]
