"""The form that starts a run, with the fields that its orchestration takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from django import forms

from approvals.web.pages.forms import PlainForm
from approvals.web.pages.json_values import ABSENT
from orchestration.catalog import Orchestration
from orchestration.exceptions import InvalidInput, OrchestrationError

INPUT = "input"


class StartForm(PlainForm):
    """Cleans to `input`, a JSON object, and `key`, so that a form that is sent twice starts one run."""

    key = forms.CharField(max_length=100, widget=forms.HiddenInput)

    def __init__(
        self,
        orchestration: Orchestration,
        data: Mapping[str, Any] | None = None,
        *,
        given: Mapping[str, Any] | None = None,
    ) -> None:
        """`given` is the input that the fields start from."""
        super().__init__(data, initial={"key": f"page-{uuid4()}"})
        if orchestration.fields:
            current = ABSENT if given is None else dict(given)
            self.add_structure(orchestration.input_schema, INPUT, current, label="The input")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        self.drop_inactive_errors()
        if not self.errors:
            cleaned[INPUT] = {} if self.structure is None else self.structure_value(cleaned)
        return cleaned

    def add_start_error(self, error: OrchestrationError) -> None:
        """Show an error of the start at the fields that it names."""
        if not isinstance(error, InvalidInput):
            self.add_error(None, error.detail)
            return
        for path, message in error.errors:
            spot = INPUT if path == INPUT else f"{INPUT}.{path}"
            self.add_error(*self.locate_error(spot, message.removeprefix(f"{path}: "), ": "))
