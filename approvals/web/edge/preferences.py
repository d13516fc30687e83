"""Saves and removes what a person has chosen for their own pages; `approvals.queries` reads it."""

from __future__ import annotations

from typing import Any

from approvals.models import Preference


def save(user_id: int, chosen: dict[str, Any]) -> None:
    """Save these settings, by the names of their fields; the others stay."""
    Preference.objects.update_or_create(pk=user_id, defaults=chosen)


def forget(user_id: int) -> None:
    """Remove all settings of this person."""
    Preference.objects.filter(pk=user_id).delete()
