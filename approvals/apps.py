"""The approvals app: requests to people, decisions, waiting, and the trail."""

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
        # Importing the `checks` of any app registers them.
        autodiscover_modules("checks", "project_checks")
        post_migrate.connect(install_triggers, sender=self)


def install_triggers(*, using: str, **kwargs: Any) -> None:
    """Install the triggers again after each migration, whose table rebuilds drop them."""
    from approvals.database import triggers

    triggers.install(connections[using])
