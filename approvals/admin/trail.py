"""Audit entries: who did what, when, from where, and whether the trail still holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals import audit, selectors
from approvals.admin.records import RecordAdmin, moment_of, user_id_of
from approvals.models import AuditEntry, ShownContent
from approvals.web.values import visible

if TYPE_CHECKING:
    Entries = QuerySet[AuditEntry]


@admin.register(AuditEntry)
class AuditEntryAdmin(RecordAdmin):
    """The entries of the requests that somebody may see."""

    page_template = "admin/approvals/entry.html"
    list_display = ("recorded", "happened", "of_request", "actor", "channel", "address", "allowed_by")
    list_filter = (
        "event",
        "outcome",
        "channel",
        "request__kind",
        ("actor", admin.RelatedOnlyFieldListFilter),
        "recorded_at",
    )
    search_fields = ("request__title", "actor__username", "address", "user_agent", "hash")
    search_help_text = "Request, actor, address, program or hash"
    date_hierarchy = "recorded_at"
    ordering = ("-recorded_at", "-id")
    list_select_related = ("request", "actor")

    def get_queryset(self, request: HttpRequest) -> Entries:
        seen = selectors.visible_to(user_id_of(request))
        return AuditEntry.objects.filter(request__in=seen).order_by(*self.ordering)

    def page(self, request: HttpRequest, row: AuditEntry) -> dict[str, Any]:
        entry = AuditEntry.objects.select_related("request", "actor", "on_behalf_of").get(pk=row.pk)
        shown = ShownContent.objects.filter(entry=entry).first()
        return {
            "title": f"{entry.get_event_display()}: {entry.request}",
            "entry": entry,
            "request_url": request_url(entry),
            "shown": shown,
            "broken": audit.verify(entry.request),
        }

    @admin.display(description="when", ordering="recorded_at")
    def recorded(self, entry: AuditEntry) -> SafeString | None:
        return moment_of(entry.recorded_at)

    @admin.display(description="event", ordering="event")
    def happened(self, entry: AuditEntry) -> SafeString:
        outcome = entry.outcome or entry.event
        return format_html('<span class="state is-{}">{}</span>', outcome, entry.get_event_display())

    @admin.display(description="request", ordering="request__title")
    def of_request(self, entry: AuditEntry) -> SafeString:
        return format_html('<a href="{}">{}</a>', request_url(entry), visible(entry.request.title))


def request_url(entry: AuditEntry) -> str:
    return reverse(f"admin:approvals_{entry.request.kind}_change", args=[entry.request_id])
