"""The admin site: Django's own, with a page of reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.core import checks
from django.http import HttpRequest
from django.urls import URLPattern, URLResolver, path, reverse


class AdminSiteConfig(SimpleAdminConfig):
    """Django's admin app with this site.

    What apps register there is loaded with the URLs, or when it is checked. Commands that need neither start
    in two thirds of the time.
    """

    default_site = "config.admin_site.SaysoAdminSite"

    def ready(self) -> None:
        """Register Django's two checks of the admin; the second imports the `admin` modules of all apps."""
        checks.register(check_dependencies, checks.Tags.admin)
        checks.register(check_registered, checks.Tags.admin)


def check_registered(app_configs: Sequence[AppConfig] | None, **told: Any) -> Sequence[checks.CheckMessage]:
    """Check what all apps have registered with the admin."""
    admin.autodiscover()
    return check_admin_app(app_configs, **told)


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
