"""What the page of one run shows to one person, and the request of the run that is decided there."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.urls import reverse

from approvals import queries as approvals_queries
from approvals.database.clock import database_now
from approvals.exceptions import UnknownRequest
from approvals.web.edge.tokens import name_of
from approvals.web.pages.access import trail_once_seen, user_id
from approvals.web.pages.acts import NotRecorded
from approvals.web.pages.request_page import RequestPage
from orchestration import catalog, queries
from orchestration.models import OPEN, Run
from orchestration.runs.manual_resumption import (
    describe_resumption,
    hide_unseen_titles,
    is_resumable,
    resumption_of,
)
from orchestration.web.plan import shown_steps, time_taken
from orchestration.web.timeline import Place, Timeline, read_timeline
from orchestration.web.wording import REASONS, error_of, start_in_words

# Requests that the page lists; the others are counted.
WAITS = 50
# Records that are looked at to say what resuming the run would repeat.
RESUMED = 1_000


@dataclass(frozen=True, kw_only=True)
class RunPage:
    """The content of the page. `instead`: what the person sent about a request, if it was not recorded.

    `notice`: why what was sent about the run was not done.
    """

    request: HttpRequest
    run: Run
    instead: NotRecorded | None = None
    notice: str = ""

    @property
    def context(self) -> dict[str, Any]:
        run, reader = self.run, user_id(self.request)
        place = Place.from_text(self.request.GET.get("before", ""))
        timeline = read_timeline(reader, run, place)
        is_open = run.status in OPEN
        shared = {
            "section": "runs",
            "now": database_now(),
            "run": run,
            "notice": self.notice,
            "started": start_in_words(run, _token_of(run)),
            "newest_version": _newest_version(run),
            "timeline": timeline,
            "took": time_taken(run.created_at, run.finished_at) if run.finished_at else "",
            "reason": REASONS.get(run.reason, ""),
            "error": error_of(run, sees_requests=timeline.sees_requests),
            "ending": run.cancel_requested_at is not None and is_open,
            "audit_trail": self._audit_trail(),
        }
        return shared | (self._now(timeline) if timeline.latest else {})

    def _now(self, timeline: Timeline) -> dict[str, Any]:
        """Return what is shown of the run as it is now, beside what happened."""
        run, reader = self.run, user_id(self.request)
        is_open = run.status in OPEN
        known = (run.orchestration, run.version) in catalog.registered_kinds()
        may_change = queries.may_change(reader, run)
        return {
            "steps": shown_steps(run.plan),
            **self._waits(),
            "unknown": catalog.kind_name((run.orchestration, run.version)) if is_open and not known else "",
            "may_cancel": is_open and run.cancel_requested_at is None and may_change,
            "resumption": self._resumption() if may_change and is_resumable(run) else None,
            "may_start_again": run.purged_at is None
            and run.orchestration in catalog.orchestrations()
            and queries.may_start(reader),
        }

    def _waits(self) -> dict[str, Any]:
        """Return the open requests that this person may see, how many others there are, and the one shown."""
        reader = user_id(self.request)
        asked: list[Any] = []
        if self.run.status in OPEN:
            asked = approvals_queries.open_requests_of(str(self.run.pk), light=True, limit=WAITS + 1)
        first = asked[:WAITS]
        rights = approvals_queries.rights_among(reader, first)
        seen = [row for row in first if rights[row.pk].see]
        shown = self._shown_request([row for row in seen if rights[row.pk].decide])
        return {
            "waits": [(row, rights[row.pk].decide) for row in seen],
            "waits_listed": len(asked) > len(seen) or any(row != shown for row in seen),
            "waits_beside": len(first) - len(seen),
            "waits_more": len(asked) > WAITS,
            **(self._request_context(shown) if shown is not None else {}),
        }

    def _shown_request(self, decidable: list[Any]) -> Any | None:
        """Return the request that is decided on the page: the one that was sent, or chosen, or the first."""
        if self.instead is not None:
            return self.instead.asked
        chosen = self.request.GET.get("request", "")
        for request_id in [chosen, *(row.pk for row in decidable[:1])]:
            if request_id:
                with suppress(UnknownRequest):
                    return request_of_run(user_id(self.request), self.run, request_id)
        return None

    def _request_context(self, asked: Any) -> dict[str, Any]:
        instead = self.instead
        page = RequestPage(
            asked=asked,
            username=self.request.user.get_username(),
            rights=approvals_queries.rights_of(user_id(self.request), asked),
            trail=trail_once_seen(self.request, asked),
            form=instead.form if instead else None,
            notice=instead.notice if instead else "",
        )
        # Everything but the decision has its place on the request's own page.
        return {
            **page.context,
            "notice": self.notice,
            "refusal": page.notice,
            "origins": {str(self.run.pk): self.run},
            **dict.fromkeys(("hand_on_form", "withdraw_form")),
            "here": reverse("run-request", args=[self.run.pk, asked.pk]),
        }

    def _resumption(self) -> list[str]:
        records = queries.last_steps_of(self.run, RESUMED + 1)
        resumption = resumption_of(self.run.reason, records[-RESUMED:])
        said = describe_resumption(hide_unseen_titles(resumption, user_id(self.request)))
        return [*said, f"Only its last {RESUMED} calls were looked at"] if len(records) > RESUMED else said

    def _audit_trail(self) -> str:
        """Return the address of the entries of all requests of the run, for those who have the admin."""
        person = self.request.user
        if not (person.is_staff and person.has_perm("approvals.view_auditentry")):
            return ""
        return f"{reverse('admin:approvals_auditentry_changelist')}?q={self.run.pk}"


def request_of_run(reader: int, run: Run, request_id: UUID | str) -> Any:
    """Return the request if this run has asked it and this person may see it; else UnknownRequest."""
    asked = approvals_queries.request_for(reader, request_id)
    if asked.key_scope != f"run:{run.pk}":
        raise approvals_queries.unknown_request(request_id)
    return asked


def _token_of(run: Run) -> str:
    token_id = run.started_from.get("token_id")
    return name_of(UUID(token_id)) if token_id else ""


def _newest_version(run: Run) -> int:
    newest = catalog.orchestrations().get(run.orchestration)
    return newest.version if newest else run.version
