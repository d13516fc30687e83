"""Runs in Django's admin: to read only. A run is cancelled on its page, and decided through its requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from procrastinate.contrib.django.models import ProcrastinateJob

from approvals.admin.records import RecordAdmin, moment_of
from approvals.web.values import visible
from orchestration import selectors
from orchestration.conf import PROCRASTINATE
from orchestration.models import Run

if TYPE_CHECKING:
    Runs = QuerySet[Run]

LATEST_MESSAGES = 200


@admin.register(Run)
class RunAdmin(RecordAdmin):
    """All runs for holders of `orchestration.view_run`; for other staff their own."""

    page_template = "admin/orchestration/run.html"
    list_display = ("what", "state", "owner", "began", "ended")
    list_filter = (
        "status",
        "orchestration",
        ("owner", admin.RelatedOnlyFieldListFilter),
        "created_at",
        "finished_at",
    )
    search_fields = ("title", "orchestration", "owner__username", "key", "error")
    search_help_text = "Title, orchestration, owner, key or error"
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-id")
    list_select_related = ("owner",)

    def get_queryset(self, request: HttpRequest) -> Runs:
        runs = super().get_queryset(request)
        return runs if request.user.has_perm(selectors.SEE_ALL) else runs.filter(owner_id=request.user.pk)

    def page(self, request: HttpRequest, row: Run) -> dict[str, Any]:
        messages = selectors.messages_of(row)
        return {
            "title": str(row),
            "run": selectors.run_by_id(row.pk),
            "steps": selectors.steps_of(row),
            "messages_of_run": messages[-LATEST_MESSAGES:],
            "earlier": max(0, len(messages) - LATEST_MESSAGES),
        }

    @admin.display(description="run", ordering="title")
    def what(self, run: Run) -> SafeString:
        return visible(run.title or run.orchestration)

    @admin.display(description="queued", ordering="created_at")
    def began(self, run: Run) -> SafeString | None:
        return moment_of(run.created_at)

    @admin.display(description="ended", ordering="finished_at")
    def ended(self, run: Run) -> SafeString | None:
        return moment_of(run.finished_at)

    @admin.display(description="state", ordering="status")
    def state(self, run: Run) -> SafeString:
        return format_html('<span class="state is-{}">{}</span>', run.status, run.get_status_display())


if settings.SAYSO_ENGINE != PROCRASTINATE:  # then there is no queue to show, and maybe no table
    admin.site.unregister(ProcrastinateJob)
