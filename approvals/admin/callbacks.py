"""Callbacks: where outcomes are posted, and the result of each attempt; they can be sent again."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals import queries
from approvals.admin.change_lists import ListAdmin, moment_column
from approvals.admin.filters import days, typed_filter
from approvals.admin.selection import page_of, request_column
from approvals.models import Callback, CallbackAttempt
from approvals.web.edge.hidden_characters import visible
from approvals.web.pages.access import NOT_RECORDED, user_id
from approvals.writer import callbacks

Callbacks = QuerySet[Callback]

SEND_AGAIN = "approvals.resend_callback"
LATEST_SENT = 10


@admin.register(Callback)
class CallbackAdmin(ListAdmin):
    """The callbacks of the requests that a person may see."""

    page_template = "admin/approvals/callback.html"
    list_display = ("of_request", "state", "to", "attempts", "due", "changed")
    moment = "created_at"
    list_filter = ("status", typed_filter("dates", *days("created", "Closed from")))
    search_fields = ("url", "request__title")
    search_help_text = "Address or request"
    list_select_related = ("request",)
    views: ClassVar = {"<uuid:callback_id>/send_again/": "send_again_view"}
    of_request = request_column
    due = moment_column("due_at", "next attempt")
    changed = moment_column("changed_at", "last change")

    def get_queryset(self, request: HttpRequest) -> Callbacks:
        seen = queries.visible_to(user_id(request))
        return Callback.objects.filter(request__in=seen).select_related("request")

    def page(self, request: HttpRequest, row: Callback) -> dict[str, Any]:
        return {
            "title": f"Callback of {row.request}",
            "callback": row,
            "request_url": page_of(row.request),
            "attempts": CallbackAttempt.objects.filter(callback=row).order_by("-number"),
            "sent_again": LogEntry.objects.filter(
                content_type=ContentType.objects.get_for_model(Callback), object_id=row.pk
            ).select_related("user")[:LATEST_SENT],
            "may_send_again": request.user.has_perm(SEND_AGAIN),
        }

    def send_again_view(self, request: HttpRequest, callback_id: UUID) -> HttpResponse:
        """Lead to its page (GET), or have it posted again at once (POST), under the same id."""
        if not request.user.has_perm(SEND_AGAIN):
            raise PermissionDenied
        back = HttpResponseRedirect(reverse("admin:approvals_callback_change", args=[callback_id]))
        if request.method != "POST":
            messages.warning(request, NOT_RECORDED)
            return back
        callback = self.get_queryset(request).filter(pk=callback_id).first()
        if callback is None or not callbacks.send_again(callback_id):
            raise Http404(f"There is no callback {callback_id}, or you may not see it.")
        self.log_change(request, callback, "Sent again.")
        messages.success(request, "It is sent again. Each attempt is listed below once it has ended.")
        return back

    @admin.display(description="address")
    def to(self, callback: Callback) -> SafeString:
        return visible(callback.url)

    @admin.display(description="state")
    def state(self, callback: Callback) -> SafeString:
        word = callback.get_status_display().capitalize()
        return format_html('<span class="state is-{}">{}</span>', callback.status, word)
