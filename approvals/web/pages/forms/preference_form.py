"""The form of a person's own preferences."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time
from typing import Any

from django import forms

from approvals.conf import tells_people
from approvals.domain.quiet_hours import DAYS, LONGEST_ZONE_NAME, is_zone
from approvals.domain.telling import EVENTS
from approvals.web.pages.forms.plain_form import PlainForm

ABOUT_TELLING = (
    "told",
    "time_zone",
    "quiet_from",
    "quiet_until",
    "quiet_days",
    "digest_at",
    "urgent_breaks_quiet",
)


class WallTimeField(forms.TimeField):
    """A time on the person's own clock, to the minute."""

    def __init__(self, label: str, **options: Any) -> None:
        widget = forms.TimeInput(attrs={"type": "time"}, format="%H:%M")
        super().__init__(required=False, label=label, widget=widget, **options)
        self.error_messages["invalid"] = f"{label} must be a time such as 22:00."


class PreferenceForm(PlainForm):
    """The settings that go with the account.

    `cleaned_data` has the fields of `Preference`, and `told`: the events to be told by mail. Those about
    telling are there only where this installation tells people.
    """

    told = forms.MultipleChoiceField(
        required=False,
        label="Send me an email about",
        choices=[(event.value, words[0].upper() + words[1:]) for event, words in EVENTS.items()],
        widget=forms.CheckboxSelectMultiple,
    )
    time_zone = forms.CharField(
        required=False,
        max_length=LONGEST_ZONE_NAME,
        label="Time zone",
        help_text="Such as Europe/Berlin. Times in messages and the quiet hours below are on its clock.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    quiet_from = WallTimeField("Quiet from")
    quiet_until = WallTimeField("Quiet until", help_text="Messages of these hours come when they are over.")
    quiet_days = forms.TypedMultipleChoiceField(
        required=False,
        label="Days without messages",
        choices=[(number, day.capitalize()) for number, day in enumerate(DAYS)],
        coerce=int,
        widget=forms.CheckboxSelectMultiple,
    )
    digest_at = WallTimeField(
        "One email a day, at",
        help_text="All together instead of one by one. Reminders still come by themselves.",
    )
    urgent_breaks_quiet = forms.BooleanField(
        required=False,
        label="Tell me at once if the deadline is sooner",
        help_text="About requests whose deadline passes before your quiet hours end or that email comes.",
    )
    opens_next = forms.BooleanField(
        required=False,
        label="After a decision, open the next request",
        help_text="Otherwise the one that you decided stays open.",
    )

    def __init__(self, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(data, **options)
        if not tells_people():
            for name in ABOUT_TELLING:
                del self.fields[name]

    def clean_time_zone(self) -> str:
        name: str = self.cleaned_data["time_zone"]
        if name and not is_zone(name):
            raise forms.ValidationError(
                "Time zone must be the name of an IANA time zone, such as Europe/Berlin."
            )
        return name

    def clean_quiet_days(self) -> list[int]:
        days: list[int] = self.cleaned_data["quiet_days"]
        if len(days) == len(DAYS):
            raise forms.ValidationError("Days without messages must leave one day of the week.")
        return days

    def clean_quiet_until(self) -> time | None:
        begins, ends = self.cleaned_data.get("quiet_from"), self.cleaned_data["quiet_until"]
        if "quiet_from" in self.cleaned_data and (begins is None) != (ends is None):
            raise forms.ValidationError("Quiet until goes with Quiet from: set both, or none.")
        if begins is not None and begins == ends:
            raise forms.ValidationError("Quiet until must be another time than Quiet from.")
        return ends  # type: ignore[no-any-return]  # what a field of times has cleaned
