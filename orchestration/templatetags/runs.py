"""Template tags that show the run behind a request, and its plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals.domain.lifecycle import Kind, Status, Verdict, approved
from approvals.web.edge.hidden_characters import visible
from orchestration import queries
from orchestration.exceptions import UnknownRun
from orchestration.models import OPEN, Run
from orchestration.web.plan import shown_steps

register = template.Library()
register.filter("plan_steps", shown_steps)


@register.simple_tag
def runs_behind(requests: Iterable[Any], user_id: int) -> dict[str, Run]:
    """Return the runs behind these requests, by id, as far as this user may see them."""
    ids = {run_id for request in requests if (run_id := _run_id(request.origin or {}))}
    seen = queries.visible_run_ids([user_id], ids).get(user_id, set()) if ids else set()
    return {str(run.pk): run for run in queries.runs_by_id(seen)} if seen else {}


@register.simple_tag
def asked_by(request: Any, runs: Mapping[str, Run], *, linked: bool = False) -> SafeString:
    """Show who asks, and by which run or from where: `ann, disk cleanup`; linked, inside a sentence."""
    nobody = "a program" if linked else "A program"
    who = request.requester.get_username() if request.requester else nobody
    run = run_behind(request, runs)
    if run is None:
        return _asked_from(who, request.origin or {}, linked=linked)
    if linked:
        return format_html('{}, <a href="{}">{}</a>', who, reverse("run", args=[run.pk]), run.title)
    return format_html("{}, {}", who, run.title)


@register.simple_tag
def what_goes_on(request: Any, runs: Mapping[str, Run]) -> SafeString:
    """Say what follows, or would follow, when a request is closed: `Run Refund 812 goes on`, the run linked.

    Of a run that has ended it says how.
    """
    timeout = Verdict(request.on_timeout) if request.on_timeout else None
    no = approved(Kind(request.kind), Status(request.status), timeout) is False
    after = "is told" if no or request.status == Status.WITHDRAWN else "goes on"
    run = run_behind(request, runs)
    if run is None:
        return format_html("The program that asked {}", after)
    if run.status not in OPEN:
        after = f"has ended: {run.get_status_display().lower()}"
    return format_html('Run <a href="{}">{}</a> {}', reverse("run", args=[run.pk]), visible(run.title), after)


@register.simple_tag
def what_goes_on_in_all(requests: Iterable[Any], runs: Mapping[str, Run]) -> SafeString:
    """Say what `what_goes_on` says where that is the same for all of these requests; empty: it differs."""
    different = {what_goes_on(request, runs) for request in requests}
    return different.pop() if len(different) == 1 else SafeString()


@register.inclusion_tag("orchestration/_plan_of_request.html")
def plan_behind(request: Any, runs: Mapping[str, Run], now: datetime) -> dict[str, Any]:
    """Show the plan of the run behind the request, with the current step marked."""
    run = run_behind(request, runs)
    return {"steps": shown_steps(run.plan) if run else [], "now": now}


@register.simple_tag
def run_behind(request: Any, runs: Mapping[str, Run]) -> Run | None:
    """Return the run behind the request, from those that `runs_behind` has found."""
    return runs.get(str(_run_id(request.origin or {})))


def _asked_from(who: str, origin: Mapping[str, Any], *, linked: bool) -> SafeString:
    kind, url = origin.get("kind", ""), origin.get("url", "")
    # A run's page is linked only for those who may see the run.
    if linked and url and kind != "run":
        return format_html('{}, <a href="{}" rel="noreferrer">{}</a>', who, url, visible(kind or url))
    return format_html("{}, {}", who, visible(kind)) if kind else format_html("{}", who)


def _run_id(origin: Mapping[str, Any]) -> UUID | None:
    if origin.get("kind") == "run":
        with suppress(UnknownRun):  # a program that asks can send any id
            return queries.parse_run_id(origin.get("id", ""))
    return None
