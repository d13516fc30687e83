"""The approvals app: requests to people, decisions, waiting, and the trail."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db import connections
from django.db.models.signals import post_migrate, post_save
from django.utils.module_loading import autodiscover_modules


class ApprovalsConfig(AppConfig):
    name = "approvals"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Importing the `checks` of any app registers them.
        autodiscover_modules("checks", "project_checks")
        post_migrate.connect(install_triggers, sender=self)
        # Whoever deactivates an account knows nothing of us.
        post_save.connect(end_delegations, sender=settings.AUTH_USER_MODEL)


def end_delegations(*, instance: Any, raw: bool = False, **kwargs: Any) -> None:
    """End the delegations of an account that was saved as inactive: they do not come back with it."""
    if not instance.is_active and not raw:
        from approvals.writer import delegations

        delegations.end_of_inactive(instance.pk)


def install_triggers(*, using: str, **kwargs: Any) -> None:
    """Install the triggers again after each migration, whose table rebuilds drop them."""
    from approvals.database import triggers

    triggers.install(connections[using])
