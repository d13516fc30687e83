"""The form that starts a run: a field for each of an orchestration's own, or JSON where one is not plain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from django import forms

from approvals.forms import PlainForm
from approvals.json_fields import SchemaFields
from orchestration.catalog import Orchestration
from orchestration.exceptions import InvalidInput, OrchestrationError

INPUT = "input"


class StartForm(PlainForm):
    """`cleaned_data`: `input`, a JSON object, and `key`: a form that is sent twice starts one run."""

    key = forms.CharField(max_length=100, widget=forms.HiddenInput)

    def __init__(self, orchestration: Orchestration, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data, initial={"key": f"page-{uuid4()}"})
        self._input = SchemaFields(orchestration.input_schema, INPUT) if orchestration.fields else None
        if self._input is not None:
            self.fields.update(self._input.fields)
            if not self._input.generated:
                known = ", ".join(f"{name} ({kind})" for name, kind in orchestration.fields.items())
                self.fields[INPUT].label = "Input, as a JSON object"
                self.fields[INPUT].help_text = f"Its members: {known}."

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            cleaned[INPUT] = {} if self._input is None else self._input.value(cleaned)
        return cleaned

    def not_started(self, error: OrchestrationError) -> None:
        """Put what the orchestration refuses on the fields at fault."""
        if not isinstance(error, InvalidInput):
            self.add_error(None, error.detail)
            return
        for path, message in error.errors:
            field = self._field_at_fault(f"{INPUT}.{path}")
            self.add_error(field, message if field == f"{INPUT}.{path}" else f"{path}: {message}")
