"""Django's admin as this installation's record."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class AdminSiteConfig(AdminConfig):
    default_site = "config.admin_site.SaysoAdminSite"
