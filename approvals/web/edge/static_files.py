"""The storage of static files, with addresses below the path prefix of the present request.

Django's own computes the address once: the prefix of the first request would apply to all later ones.
"""

from __future__ import annotations

from django.contrib.staticfiles.storage import StaticFilesStorage
from django.urls import get_script_prefix

# Relative to the prefix.
PATH = "static/"


class StaticFiles(StaticFilesStorage):
    """Finds files as Django's storage does."""

    @property
    def base_url(self) -> str:
        return f"{get_script_prefix()}{PATH}"
