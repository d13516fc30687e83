"""Django's admin app with this installation's admin site."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class AdminSiteConfig(AdminConfig):
    default_site = "config.admin_site.SaysoAdminSite"
