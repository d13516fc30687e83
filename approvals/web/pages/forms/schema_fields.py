"""The form fields for one JSON Schema, and the way from what they hold back to JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from approvals.web.pages.forms.builder import Builder, Place
from approvals.web.pages.forms.parts import Cleaned, Part
from approvals.web.pages.forms.schema_reader import Rules, Schema, label_of
from approvals.web.pages.forms.submission import Submission, is_within
from approvals.web.pages.json_values import ABSENT


class SchemaFields:
    """The fields of a schema under one name.

    They start from `current`; values in it that the schema does not name are kept. With `sent`, what a
    browser sent, its rows and ticks decide which fields there are.
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
        """Names of fields that do not count now, so their errors do not either."""
        self.hideable = self.root.hideable()
        """Names of fields that a page may hide: a browser must not require them."""

    def value(self, cleaned: Mapping[str, Any]) -> Any:
        """Return the JSON value of the cleaned fields, without optional fields that were left empty."""
        value = self.root.value(cleaned)
        return None if value is ABSENT else value

    def at(self, cleaned: Cleaned, spot: str) -> tuple[Part, str]:
        """Find the part closest to a spot such as `answer.lines[2].sum`, and the rest of the way to it."""
        closest, length = self.root, len(self.name)
        for known, part in self.root.spots(cleaned, self.name):
            if length <= len(known) <= len(spot) and is_within(spot, known):
                closest, length = part, len(known)
        return closest, spot[length:]
