"""The base of all admin pages: rows that staff can read and nobody can edit."""

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
    """Pages to read. `get_queryset` has the rows that a person may see, `page` what a row's page shows."""

    show_full_result_count = False
    list_per_page = 50
    page_template: str

    def page(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return the context of a row's page."""
        raise NotImplementedError

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the page of one row. It has no form, so it needs no transaction."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404(f"There is no {self.opts.verbose_name} {object_id!r}, or you may not see it.")
        return self.render_page(request, self.page_template, {"original": row, **self.page(request, row)})

    def render_page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
        """Render a template with the context that every admin page has."""
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
    """Show a time in short form, in UTC; admin.js changes it to the reader's time zone."""
    if moment is None:
        return None
    utc = moment.astimezone(UTC)
    exact, short = f"{utc:%Y-%m-%d %H:%M:%S} UTC", f"{utc:%Y-%m-%d %H:%M} UTC"
    return format_html('<time class="moment" datetime="{}" title="{}">{}</time>', iso(utc), exact, short)


def user_id_of(request: HttpRequest) -> int:
    """Return the id of the staff member who asks. Raises PermissionDenied if nobody is logged in."""
    user_id = request.user.pk
    if user_id is None:
        raise PermissionDenied
    return int(user_id)
