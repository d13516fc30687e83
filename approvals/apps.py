"""The approvals app: what is asked, who decides, who waits, what is on record."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


class ApprovalsConfig(AppConfig):
    name = "approvals"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Importing an app's checks registers them; those of the apps above this one too.
        autodiscover_modules("checks")
        post_migrate.connect(install_triggers, sender=self)


def install_triggers(*, using: str, **kwargs: Any) -> None:
    """Table rebuilds of migrations drop triggers; so they are put back after every one."""
    from approvals.database import triggers

    triggers.install(connections[using])
