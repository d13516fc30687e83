"""Notifications: whom a request was told to, and the result of each attempt; they can be sent again."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals import queries
from approvals.admin.change_lists import ListAdmin, count_column, moment_column
from approvals.admin.filters import days, typed_filter
from approvals.admin.selection import page_of, request_column
from approvals.models import Notification, NotificationAttempt
from approvals.queries.account_names import name_field
from approvals.queries.notices import WITH_OWNER
from approvals.web.edge.hidden_characters import visible
from approvals.web.pages.access import NOT_RECORDED, user_id
from approvals.writer import notifications

Notifications = QuerySet[Notification]

# Who may repeat what was sent to programs may repeat what was sent to people.
SEND_AGAIN = "approvals.resend_callback"


@admin.register(Notification)
class NotificationAdmin(ListAdmin):
    """What was told about the requests that a person may see."""

    page_template = "admin/approvals/notification.html"
    list_display = ("of_request", "event", "owner", "by", "state", "attempts", "due", "fetches", "changed")
    moment = "created_at"
    list_filter = (
        "status",
        "event",
        "destination__kind",
        typed_filter("dates", *days("created", "Told from")),
    )
    search_fields = ("request__title", f"destination__{name_field('user')}", "destination__group__name")
    search_help_text = "Request, person or group"
    list_select_related = ("request", *WITH_OWNER)
    views: ClassVar = {"<uuid:notification_id>/send_again/": "send_again_view"}
    of_request = request_column
    due = moment_column("due_at", "next attempt")
    fetches = count_column("fetches", "link fetched")
    changed = moment_column("changed_at", "last change")

    def get_queryset(self, request: HttpRequest) -> Notifications:
        seen = queries.visible_to(user_id(request))
        told = Notification.objects.filter(request__in=seen)
        return told.select_related("request", *WITH_OWNER)

    def page(self, request: HttpRequest, row: Notification) -> dict[str, Any]:
        return {
            "title": f"Notification about {row.request}",
            "notification": row,
            "message_number": notifications.message_number(row),
            "request_url": page_of(row.request),
            "attempts": NotificationAttempt.objects.filter(notification=row).order_by("-number"),
            "may_send_again": request.user.has_perm(SEND_AGAIN),
        }

    def send_again_view(self, request: HttpRequest, notification_id: UUID) -> HttpResponse:
        """Lead to its page (GET), or have it sent again at once (POST), if there is still a point in it."""
        if not request.user.has_perm(SEND_AGAIN):
            raise PermissionDenied
        back = HttpResponseRedirect(reverse("admin:approvals_notification_change", args=[notification_id]))
        if request.method != "POST":
            messages.warning(request, NOT_RECORDED)
            return back
        row = self.get_queryset(request).filter(pk=notification_id).first()
        if row is None or not notifications.send_again(notification_id):
            raise Http404(f"There is no notification {notification_id}, or you may not see it.")
        self.log_change(request, row, "Sent again.")
        messages.success(request, "It is sent again, if there is still a point in it.")
        return back

    @admin.display(description="for")
    def owner(self, row: Notification) -> SafeString:
        return visible(row.destination.owner)

    @admin.display(description="by")
    def by(self, row: Notification) -> SafeString:
        one = row.destination
        said = format_html("{} {}", one.get_kind_display(), visible(one.label))
        if one.failing_since is None:
            return said
        return format_html('{} <span class="state is-given_up">failing</span>', said)

    @admin.display(description="state")
    def state(self, row: Notification) -> SafeString:
        word = row.get_status_display()
        return format_html('<span class="state is-{}">{}</span>', row.status, word[:1].upper() + word[1:])
