"""Django's admin as this installation's record."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class RecordConfig(AdminConfig):
    default_site = "config.record.RecordSite"
