"""The base of all forms: labels without colons, errors that name their field, fields made from a schema.

`BoundPart` is what templates show of the parts of a schema: each with its bound field, and the parts inside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.forms.utils import ErrorDict

from approvals.exceptions import ApprovalError
from approvals.web.pages.forms.builder import build
from approvals.web.pages.forms.parts import NEW, Cleaned, Group, Part, Row, Rows, Variants
from approvals.web.pages.forms.schema_reader import Schema
from approvals.web.pages.forms.submission import NOTHING, Submission, is_rearranged, is_within, rearrange
from approvals.web.pages.json_values import ABSENT


class SchemaBoundField(forms.BoundField):
    """A field with an id that is valid HTML and unique, whatever the name of its property."""

    form: PlainForm

    @property
    def auto_id(self) -> str:
        return _as_id(str(super().auto_id))

    def value(self) -> Any:
        """Return what was sent; for a row that was added just now, its initial value."""
        if self.form.new_row and is_within(self.html_name, self.form.new_row):
            return self.field.prepare_value(self.initial)
        return super().value()

    def build_widget_attrs(self, attrs: Any, widget: Any = None) -> Any:
        built = super().build_widget_attrs(attrs, widget)
        if self.form.structure is not None and self.name in self.form.structure.hideable:
            built.pop("required", None)
        return built


class PlainForm(forms.Form):
    """A form that shows refusals at the field at fault.

    After a button that only adds or removes a row, or does nothing (`unpressed`), it is `rearranged`: it
    shows what was sent, and no errors.
    """

    bound_field_class = SchemaBoundField
    structure: Part | None = None

    def __init__(self, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        self.rearranged = data is not None and is_rearranged(data)
        self.unpressed = data is not None and NOTHING in data
        self.new_row = ""
        if data is not None and self.rearranged:
            data, self.new_row = rearrange(data)
        super().__init__(data, **{"label_suffix": "", **options})

    def full_clean(self) -> None:
        if self.rearranged:
            self._errors = ErrorDict()
            self.cleaned_data = {}
            return
        for field in self.fields.values():
            if field.label:
                field.error_messages |= _messages(str(field.label))
        super().full_clean()

    def is_valid(self) -> bool:
        return not self.rearranged and super().is_valid()

    def add_structure(self, schema: Schema, name: str, current: Any = ABSENT, *, label: str = "") -> None:
        """Add the fields for a JSON value that fits the schema; `current` is what they start from."""
        prefix = self.prefix or ""
        new = self.new_row.removeprefix(f"{prefix}-")
        sent = Submission(data=self.data, prefix=prefix, new=new) if self.is_bound else None
        self.structure = build(schema, name, current, sent=sent, label=label)
        self.fields.update(self.structure.fields)

    def bound_structure(self) -> BoundPart | None:
        """Return the fields of the schema for a template; None if there are none."""
        return None if self.structure is None else BoundPart(self, self.structure)

    def structure_value(self, cleaned: Cleaned) -> Any:
        """Return the JSON value of the schema's fields, without optional ones left empty; None: no value."""
        value = ABSENT if self.structure is None else self.structure.value(cleaned)
        return None if value is ABSENT else value

    def drop_inactive_errors(self) -> None:
        for name in self.structure.inactive if self.structure else ():
            self.errors.pop(name, None)

    def add_refusal(self, error: ApprovalError) -> None:
        """Show a refusal at the field it names, or else at the form."""
        rule = error.detail.removeprefix(error.field or "")
        if not error.field or rule == error.detail:
            self.add_error(self._locate(error.field or "")[0], error.detail)
        else:
            joint = ": " if rule.startswith(":") else " "
            self.add_error(*self.locate_error(error.field, rule.lstrip(": "), joint))

    def locate_error(self, spot: str, rule: str, joint: str = " ") -> tuple[str | None, str]:
        """Return the field for an error about a spot, and its text, which begins with the label."""
        name, label, rest = self._locate(spot)
        return name, f"{label}{joint}{rule}" if not rest else f"{label}: {rest.lstrip('.')} {rule}"

    def _locate(self, spot: str) -> tuple[str | None, str, str]:
        """Return the field for a spot, its label, and the rest of the spot inside it."""
        structure = self.structure
        if structure is not None and is_within(spot, structure.name):
            part, rest = structure.at(getattr(self, "cleaned_data", {}), spot)
            return part.name if part.field else None, part.label, rest
        name = next((name for name in self.fields if is_within(spot, name)), None)
        return name, spot if name is None else str(self.fields[name].label or name), ""


def _messages(label: str) -> dict[str, str]:
    return {
        "required": f"{label} is required.",
        "invalid_choice": f"{label} must be one of the options.",
        "invalid_list": f"{label} must be a list of options.",
    }


@dataclass(frozen=True, slots=True)
class BoundRow:
    """A row of a list. Its remove button sends `address`; the ids of its inputs begin with `id_prefix`."""

    id: str
    part: BoundPart
    address: str

    @property
    def is_new(self) -> bool:
        return self.address == self.part.form.new_row

    @property
    def id_prefix(self) -> str:
        return _as_id(f"id_{self.address}")


@dataclass(frozen=True, slots=True)
class BoundPart:
    """A part in its form. Attributes that are not defined here are the part's own."""

    form: PlainForm
    part: Part

    def __getattr__(self, name: str) -> Any:
        return getattr(self.part, name)

    @property
    def is_root(self) -> bool:
        return self.part is self.form.structure

    @property
    def field(self) -> forms.BoundField | None:
        return None if self.part.field is None else self.form[self.part.name]

    @property
    def html_name(self) -> str:
        return self.form.add_prefix(self.part.name)

    @property
    def parts(self) -> Iterator[BoundPart]:
        inside = self.part.parts.values() if isinstance(self.part, Group) else ()
        return (BoundPart(self.form, one) for one in inside)

    @property
    def branches(self) -> Iterator[tuple[str, BoundPart]]:
        branches = self.part.branches.items() if isinstance(self.part, Variants) else ()
        return ((one, BoundPart(self.form, part)) for one, part in branches)

    @property
    def rows(self) -> list[BoundRow]:
        return [self._row(row) for row in self.part.rows] if isinstance(self.part, Rows) else []

    @property
    def blank(self) -> BoundRow | None:
        """The row that new rows are copied from."""
        return self._row(Row(id=NEW, part=self.part.blank)) if isinstance(self.part, Rows) else None

    def _row(self, row: Row) -> BoundRow:
        return BoundRow(row.id, BoundPart(self.form, row.part), f"{self.html_name}[{row.id}]")


def _as_id(name: str) -> str:
    """Write a name as an HTML id: `.` as two dashes, other special characters as codes between dashes."""
    return re.sub(r"[^a-zA-Z0-9_]", lambda found: "--" if found[0] == "." else f"-{ord(found[0]):x}-", name)
