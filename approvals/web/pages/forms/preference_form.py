"""The form of a person's own preferences."""

from __future__ import annotations

from django import forms

from approvals.web.pages.forms.plain_form import PlainForm


class PreferenceForm(PlainForm):
    """The settings that go with the account. `cleaned_data` has the fields of `Preference`."""

    opens_next = forms.BooleanField(
        required=False,
        label="After a decision, open the next request",
        help_text="Otherwise the one that you decided stays open.",
    )
