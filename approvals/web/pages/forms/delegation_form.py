"""The form that says who decides for somebody while they are away."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms

from approvals.domain.schemas.patterns import Pattern
from approvals.queries.delegations import REASON_LIMIT
from approvals.web.pages.forms.datetime_fields import MomentField
from approvals.web.pages.forms.plain_form import PlainForm
from approvals.web.pages.json_values import ABSENT


class DelegationForm(PlainForm):
    """To whom, from when until when, and why. `cleaned_data`: two moments; `starts_at` None: now.

    With `for_others` also for whom; "" is the person who fills it in.
    """

    principal = forms.CharField(
        required=False,
        label="Who is away",
        help_text="A username. If empty, you.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none"}),
    )
    delegate = forms.CharField(
        label="Who decides instead",
        help_text="A username.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none"}),
    )
    reason = forms.CharField(required=False, label="Reason", max_length=REASON_LIMIT)
    field_order = ("principal", "delegate", "starts_at", "ends_at", "reason")

    def __init__(self, *args: Any, for_others: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["starts_at"] = _moment("From", help_text="If empty, from now on.", required=False)
        self.fields["ends_at"] = _moment("Until")
        if not for_others:
            del self.fields["principal"]
        self.order_fields(self.field_order)

    def clean_starts_at(self) -> datetime | None:
        return _as_moment(self.cleaned_data["starts_at"])

    def clean_ends_at(self) -> datetime | None:
        return _as_moment(self.cleaned_data["ends_at"])


def _moment(label: str, **options: Any) -> MomentField:
    pattern: Pattern | None = None
    return MomentField(daily=False, pattern=pattern, label=label, **options)


def _as_moment(text: Any) -> datetime | None:
    return None if text is ABSENT else datetime.fromisoformat(text)
