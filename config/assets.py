"""Where pages find their static files: below the prefix of the request that is answered.

Django makes that address once and keeps it: whoever asked first, with whatever prefix, would decide for all.
"""

from __future__ import annotations

from django.contrib.staticfiles.storage import StaticFilesStorage
from django.urls import get_script_prefix

# Below the prefix.
PATH = "static/"


class StaticFiles(StaticFilesStorage):
    """Finds them as Django's storage does."""

    @property
    def base_url(self) -> str:
        return f"{get_script_prefix()}{PATH}"
