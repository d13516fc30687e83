"""Seals: which entries each covers, and its signature. `manage.py audit_seal` makes them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals.admin.change_lists import ListAdmin, moment_column
from approvals.admin.filters import days, typed_filter
from approvals.models import Seal

SEE = "approvals.view_seal"


@admin.register(Seal)
class SealAdmin(ListAdmin):
    """Shown only with the permission `view_seal`: seals tell how many entries there are of all requests."""

    page_template = "admin/approvals/seal.html"
    moment = "sealed_at"
    list_display = ("name", "sealed", "entries", "chains", "through", "key")
    list_filter = (typed_filter("dates", *days("sealed", "From (UTC)", "Until (UTC)")),)
    sealed = moment_column("sealed_at", "sealed")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) and request.user.has_perm(SEE)

    def page(self, request: HttpRequest, row: Seal) -> dict[str, Any]:
        return {
            "title": f"Seal {row.number}",
            "seal": row,
            "before": Seal.objects.filter(number=row.number - 1).first(),
        }

    @admin.display(description="seal")
    def name(self, seal: Seal) -> str:
        return f"Seal {seal.number}"

    @admin.display(description="entries by id")
    def through(self, seal: Seal) -> str:
        return f"{seal.first_entry} to {seal.last_entry}"

    @admin.display(description="public key")
    def key(self, seal: Seal) -> SafeString:
        return format_html("<code>{}…</code>", seal.public_key[:16])
