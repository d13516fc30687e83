"""The form fields for one schema under one name, and the way from what they hold back to JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from approvals.web.pages.differences import ABSENT
from approvals.web.pages.forms.builder import Builder, Place
from approvals.web.pages.forms.parts import Cleaned, Part
from approvals.web.pages.forms.schema_reader import Rules, Schema, label_of
from approvals.web.pages.forms.submission import Submission, is_within


class SchemaFields:
    """`current` is what the fields start from; what it holds beside the schema's properties is kept.

    `sent` is what a browser sent, whose rows and ticks then decide which fields there are.
    """

    def __init__(
        self,
        schema: Schema,
        name: str,
        current: Any = ABSENT,
        *,
        sent: Submission | None = None,
        label: str = "",
    ) -> None:
        self.name = name
        given = current is not ABSENT
        place = Place(
            name=name,
            label=label or label_of(schema, name),
            start=current,
            given=given,
            editing=given,
            root=True,
        )
        self.root: Part = Builder(Rules(schema), sent).part(schema, place)
        self.fields = self.root.fields()
        self.inactive = self.root.inactive()
        """Fields whose content says nothing, so that it may be wrong."""
        self.hideable = self.root.hideable()
        """Fields that a page may hide: a browser must not insist on them."""

    def value(self, cleaned: Mapping[str, Any]) -> Any:
        """The JSON value that the cleaned fields stand for; optional fields left empty are left out."""
        value = self.root.value(cleaned)
        return None if value is ABSENT else value

    def at(self, cleaned: Cleaned, spot: str) -> tuple[Part, str]:
        """The part that is closest to a spot of the value, and the rest of the way to it."""
        closest, length = self.root, len(self.name)
        for known, part in self.root.spots(cleaned, self.name):
            if length <= len(known) <= len(spot) and is_within(spot, known):
                closest, length = part, len(known)
        return closest, spot[length:]
