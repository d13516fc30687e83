"""Exports of the trail from the browser: a form to choose, and a stream with bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import Any

from django import forms
from django.contrib.auth import get_user_model
from django.db import connection

from approvals.queries.account_names import name_field
from approvals.trail import exports
from approvals.trail.exports import FORMATS, Filters
from approvals.web.pages.forms import PlainForm
from approvals.web.pages.wording import KINDS

LINES_AT_ONCE = 500


class ExportForm(PlainForm):
    """Chooses a part of the trail and a format; `filters` are those of approvals.trail.exports."""

    since = forms.DateField(
        required=False, label="From", widget=forms.DateInput(attrs={"type": "date"}), help_text="In UTC."
    )
    until = forms.DateField(
        required=False, label="Until", widget=forms.DateInput(attrs={"type": "date"}), help_text="Included."
    )
    actor = forms.CharField(required=False, label="By whom", help_text="Username.")
    kind = forms.ChoiceField(
        required=False,
        choices=[("", "Both"), *((kind.value, f"{noun}s") for kind, noun in KINDS.items())],
    )
    run = forms.CharField(required=False, max_length=100, help_text="The id of the run that asked.")
    format = forms.ChoiceField(
        choices=[(name, {"csv": "CSV", "jsonl": "JSON lines"}.get(name, name)) for name in FORMATS],
        widget=forms.RadioSelect,
        initial="csv",
    )

    def clean_actor(self) -> Any:
        name = self.cleaned_data["actor"].strip()
        if not name:
            return None
        user = get_user_model()._default_manager.filter(**{name_field(): name}).first()
        if user is None:
            raise forms.ValidationError("There is no user with this name.")
        return user.pk

    def clean(self) -> dict[str, Any]:
        chosen = super().clean() or self.cleaned_data
        since, until = chosen.get("since"), chosen.get("until")
        if until and until == date.max:
            self.add_error("until", "This date is too late.")
        elif since and until and since > until:
            self.add_error("until", "This must not be before the first day.")
        return chosen

    @property
    def filters(self) -> Filters:
        chosen = self.cleaned_data
        since, until = chosen["since"], chosen["until"]
        return Filters(
            since=since and datetime.combine(since, time(tzinfo=UTC)),
            until=until and datetime.combine(until, time(tzinfo=UTC)) + timedelta(days=1),
            actor=chosen["actor"],
            kind=chosen["kind"] or None,
            run=chosen["run"].strip() or None,
        )


async def stream(filters: Filters, format: str) -> AsyncGenerator[str, None]:  # noqa: A002  as the option is called
    """Yield the export's lines, some at a time, from a thread of its own: the snapshot needs one connection.

    It ends when the client leaves; what was sent until then shows that it is incomplete.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="sayso-export")
    lines = exports.lines(filters, format)
    loop = asyncio.get_running_loop()
    try:
        while piece := await loop.run_in_executor(thread, "".join, islice(lines, LINES_AT_ONCE)):
            yield piece
    finally:
        thread.submit(_end, lines)
        thread.shutdown(wait=False)


def _end(lines: Generator[str, None, None]) -> None:
    lines.close()
    connection.close()
