"""The admin site: Django's own, with a page of reports."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.apps import AdminConfig
from django.http import HttpRequest
from django.urls import URLPattern, URLResolver, path, reverse


class AdminSiteConfig(AdminConfig):
    """Django's admin app with this site."""

    default_site = "config.admin_site.SaysoAdminSite"


class SaysoAdminSite(AdminSite):
    """Adds the reports, which belong to no model, to the addresses and to the list of apps."""

    def get_urls(self) -> list[URLPattern | URLResolver]:
        from approvals.admin.reports import report_view

        view = self.admin_view(report_view)
        return [path("reports/", view, name="approvals_report"), *super().get_urls()]

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        from approvals.admin.reports import READ

        apps = super().get_app_list(request, app_label)
        if request.user.has_perm(READ):
            for app in apps:
                if app["app_label"] == "approvals":
                    app["models"].append(_REPORTS | {"admin_url": reverse("admin:approvals_report")})
        return apps


_REPORTS: dict[str, Any] = {
    "name": "Reports",
    "object_name": "Report",
    "perms": {"add": False, "change": False, "delete": False, "view": True},
    "add_url": None,
    "view_only": True,
}
