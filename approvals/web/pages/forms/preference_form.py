"""The form of a person's own preferences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms

from approvals.conf import tells_people
from approvals.domain.telling import EVENTS
from approvals.web.pages.forms.plain_form import PlainForm


class PreferenceForm(PlainForm):
    """The settings that go with the account.

    `cleaned_data` has the fields of `Preference`, and `told`: the events to be told by mail, where this
    installation tells people.
    """

    told = forms.MultipleChoiceField(
        required=False,
        label="Send me an email about",
        choices=[(event.value, words[0].upper() + words[1:]) for event, words in EVENTS.items()],
        widget=forms.CheckboxSelectMultiple,
    )
    opens_next = forms.BooleanField(
        required=False,
        label="After a decision, open the next request",
        help_text="Otherwise the one that you decided stays open.",
    )

    def __init__(self, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(data, **options)
        if not tells_people():
            del self.fields["told"]
