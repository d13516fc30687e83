"""Template tags of the pages: icons, times, JSON values, and words about requests."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from django import forms, template
from django.conf import settings
from django.shortcuts import resolve_url
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals import queries
from approvals.domain.lifecycle import Status
from approvals.domain.masking import hide_headers
from approvals.queries.highlights import highlights_of
from approvals.queries.inbox import COUNTED
from approvals.web.edge import hidden_characters
from approvals.web.pages import json_tables, relative_times, wording
from approvals.web.pages.markdown.cache import render

register = template.Library()

# The most characters of `brief`.
BRIEF = 90


@register.simple_tag
def icon(name: str) -> SafeString:
    """Draw an icon; it stands beside a word, so it is hidden from screen readers."""
    return format_html(
        '<svg aria-hidden="true"><use href="{}#{}"/></svg>', static("approvals/icons.svg"), name
    )


@register.simple_tag(takes_context=True)
def admin_files(context: Any) -> SafeString:
    """Load the look of Sayso's admin pages, once a page."""
    request = context["request"]
    if getattr(request, "sayso_admin_files", False):
        return SafeString("")
    request.sayso_admin_files = True
    return format_html(
        '<link rel="stylesheet" href="{}"><script type="module" src="{}"></script>',
        static("approvals/admin.css"),
        static("approvals/admin.js"),
    )


@register.simple_tag
def login_path() -> str:
    """Return the path of the project's log-in page."""
    return resolve_url(settings.LOGIN_URL)


@register.simple_tag
def time_left(deadline: datetime, now: datetime, opened_at: datetime | None = None) -> SafeString:
    """Show a countdown, which clock.js keeps up to date. It turns urgent when the request is due soon."""
    words = relative_times.time_left(deadline, now)
    if opened_at is None:
        return _time(deadline, "left", words)
    soon = queries.soon_from(opened_at, deadline)
    return _time(deadline, "left urgent" if soon <= now else "left", words, urgent=soon)


@register.simple_tag
def time_since(moment: datetime, now: datetime) -> SafeString:
    return _time(moment, "since", relative_times.time_since(moment, now))


@register.simple_tag
def exact_time(moment: datetime) -> SafeString:
    """Show the date and time in the server's zone, which clock.js replaces by the reader's."""
    return _time(moment, "exact", f"{timezone.localtime(moment):%-d %B %Y, %H:%M:%S %Z}")


@register.filter
def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@register.filter
def markdown(text: str) -> SafeString:
    return SafeString(render(text))


@register.filter
def host_of(url: str) -> str:
    """Return where a link leads, so that its title can't hide it."""
    return urlsplit(url).netloc.rpartition("@")[2]


@register.filter
def group_address(asked: Any) -> str:
    """Return the address of the page of the request's group."""
    requester = {"requester": asked.requester.get_username()} if asked.requester else {}
    return f"{reverse('request-group')}?{urlencode({**requester, 'key': asked.group_key})}"


@register.filter
def kind_word(asked: Any) -> str:
    return wording.KINDS[asked.kind]


register.filter("as_html", json_tables.as_html)
register.filter("pretty", json_tables.pretty)
register.filter("visible", hidden_characters.visible)
register.filter("highlights", highlights_of)
register.filter("with_labels", wording.with_labels)
register.filter("outcome_words", wording.outcome_in_words)
register.filter("deciders", wording.deciders_in_words)
register.filter("status_word", wording.status_in_words)
register.filter("step_words", wording.step_in_words)
register.filter("action_heading", wording.action_heading)
register.filter("if_nobody_decides", wording.if_nobody_decides)


@register.simple_tag
def standing(asked: Any) -> queries.Standing | None:
    """Return which approvals count now; None for a closed request."""
    return queries.standing(asked) if asked.status == Status.PENDING else None


@register.filter
def standing_words(standing: queries.Standing | None) -> str:
    return "" if standing is None else wording.standing_in_words(standing)


@register.simple_tag
def next_steps(asked: Any) -> list[queries.NextStep]:
    """Return the steps of its escalation that are still to come, if the request is pending."""
    return queries.next_steps(asked)


@register.filter
def capped_count(number: int) -> str:
    return str(number) if number < COUNTED else f"{COUNTED - 1}+"


@register.filter
def is_group(field: forms.BoundField) -> bool:
    """Tell whether a field is several inputs, which need a fieldset with a legend instead of a label."""
    return isinstance(field.field.widget, forms.RadioSelect | forms.CheckboxSelectMultiple)


@register.filter
def is_tick(field: forms.BoundField) -> bool:
    return isinstance(field.field.widget, forms.CheckboxInput)


@register.filter
def brief(given: Mapping[str, Any]) -> str:
    """Show arguments, or a run's input, in one line that tells them from others."""
    given = hide_headers(given)
    said = [(name, value) for name, value in given.items() if isinstance(value, str | int | float)]
    words = [f"{name} {value}" for name, value in said if value != ""]
    line = " ".join(", ".join(words or given).split())
    return line if len(line) <= BRIEF else f"{line[: BRIEF - 1]}…"


def _time(moment: datetime, kind: str, text: str, *, urgent: datetime | None = None) -> SafeString:
    exact = f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S %Z}"
    from_then = format_html(' data-urgent="{}"', iso(urgent)) if urgent else ""
    return format_html(
        '<time class="{}" datetime="{}" title="{}"{}>{}</time>', kind, iso(moment), exact, from_then, text
    )
