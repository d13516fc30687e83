"""Admin of rows on record: lists and pages to read, for staff; no forms."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals.database.clock import database_now
from approvals.templatetags.sayso import iso

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


class ReadOnlyAdmin(ModelAdmin):
    """Which rows somebody may see, is for `get_queryset` to say; what a row's page shows, for `page`."""

    show_full_result_count = False
    list_per_page = 50
    page_template: str

    def page(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        raise NotImplementedError

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page of one row. It has no form, so there is no transaction around it either."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404(f"There is no {self.opts.verbose_name} {object_id!r}, or you may not see it.")
        return self.shown(request, self.page_template, {"original": row, **self.page(request, row)})

    def shown(self, request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
        """A page with what every admin page has around it."""
        around = {**self.admin_site.each_context(request), "opts": self.opts, "now": database_now()}
        return TemplateResponse(request, template, {**around, **context})

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_active and request.user.is_staff)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)


def moment_of(moment: datetime | None) -> SafeString | None:
    """A moment in a list, short: in UTC, until admin.js tells it in the reader's own zone."""
    if moment is None:
        return None
    utc = moment.astimezone(UTC)
    exact, short = f"{utc:%Y-%m-%d %H:%M:%S} UTC", f"{utc:%Y-%m-%d %H:%M} UTC"
    return format_html('<time class="moment" datetime="{}" title="{}">{}</time>', iso(utc), exact, short)


def user_id_of(request: HttpRequest) -> int:
    """The staff member behind an admin page: the admin site lets nobody else in."""
    user_id = request.user.pk
    if user_id is None:
        raise PermissionDenied
    return int(user_id)
