"""Where a project has included our URLs: at its root, or at a path of its own."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch

from approvals import links

# Below the root.
API, SOCKETS = "api/v1/", "ws/"


def root() -> str:
    """Return the path of the inbox, below which everything of ours is: "/", or such as "/sayso/".

    ImproperlyConfigured where the project's URLs don't include ours.
    """
    try:
        return links.path_to("inbox")
    except NoReverseMatch:
        raise ImproperlyConfigured(
            "The project's URLs do not include Sayso's. Add to urlpatterns:"
            ' path("sayso/", include("orchestration.urls"))'
        ) from None


def api_root() -> str:
    """Return the path below which the HTTP API is, such as "/api/v1/"."""
    return f"{root()}{API}"
