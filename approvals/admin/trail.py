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
from approvals.models import ApiToken, AuditEntry, HumanRequest, ShownContent
from approvals.web.values import visible

if TYPE_CHECKING:
    Entries = QuerySet[AuditEntry]


@admin.register(AuditEntry)
class AuditEntryAdmin(RecordAdmin):
    """The entries of the requests that somebody may see."""

    page_template = "admin/approvals/entry.html"
    list_display = ("recorded", "happened", "of_request", "actor", "came_by", "address", "allowed_by")
    list_filter = (
        "event",
        "outcome",
        "channel",
        "request__kind",
        ("actor", admin.RelatedOnlyFieldListFilter),
        ("token", admin.RelatedOnlyFieldListFilter),
        "recorded_at",
    )
    search_fields = ("request__title", "actor__username", "token__name", "address", "user_agent", "hash")
    search_help_text = "Request, actor, API token, address, program or hash"
    date_hierarchy = "recorded_at"
    ordering = ("-recorded_at", "-id")
    list_select_related = ("request", "actor", "token")

    def get_queryset(self, request: HttpRequest) -> Entries:
        seen = selectors.visible_to(user_id_of(request))
        return AuditEntry.objects.filter(request__in=seen).order_by(*self.ordering)

    def page(self, request: HttpRequest, row: AuditEntry) -> dict[str, Any]:
        entry = AuditEntry.objects.select_related("request", "actor", "on_behalf_of", "token").get(pk=row.pk)
        shown = ShownContent.objects.filter(entry=entry).first()
        return {
            "title": f"{entry.get_event_display()}: {entry.request}",
            "entry": entry,
            "request_url": request_url(entry.request),
            "token_url": entry.token and token_url(request, entry.token),
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

    @admin.display(description="channel", ordering="channel")
    def came_by(self, entry: AuditEntry) -> SafeString:
        """The API token beside its channel: most entries have none, and lists are wide enough."""
        if entry.token is None:
            return visible(entry.channel)
        return format_html('{}<div class="quiet">{}</div>', entry.channel, visible(entry.token.name))

    @admin.display(description="request", ordering="request__title")
    def of_request(self, entry: AuditEntry) -> SafeString:
        return format_html('<a href="{}">{}</a>', request_url(entry.request), visible(entry.request.title))


def request_url(asked: HumanRequest) -> str:
    return reverse(f"admin:approvals_{asked.kind}_change", args=[asked.pk])


def token_url(request: HttpRequest, token: ApiToken) -> str | None:
    """Its page, for those who may see it: whoever sees an entry reads the name of its token at least."""
    admin_of_tokens = admin.site.get_model_admin(ApiToken)
    if not admin_of_tokens.get_queryset(request).filter(pk=token.pk).exists():
        return None
    return reverse("admin:approvals_apitoken_change", args=[token.pk])
