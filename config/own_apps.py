"""Apps of one's own in this site: `SAYSO_APPS` names them, `PYTHONPATH` or `SAYSO_APPS_DIR` has them."""

from __future__ import annotations

from types import ModuleType

from django.apps import AppConfig
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from orchestration.conf import orchestration_settings


class OwnAppsConfig(AppConfig):
    """Stands before these apps in INSTALLED_APPS, and says which one can't be imported, and why."""

    name = "config"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        super().__init__(app_name, app_module)
        for name in settings.SAYSO_APPS:
            _check_importable(name)


def _check_importable(name: str) -> None:
    if settings.INSTALLED_APPS.count(name) > 1:
        raise ImproperlyConfigured(f"SAYSO_APPS: {name!r} is installed already.")
    try:
        AppConfig.create(name)
    except Exception as error:
        raise ImproperlyConfigured(
            f"SAYSO_APPS: {name!r} can't be imported: {type(error).__name__}: {error}. Apps are looked for in"
            f" PYTHONPATH and in {orchestration_settings().apps_dir} (SAYSO_APPS_DIR)."
        ) from error
