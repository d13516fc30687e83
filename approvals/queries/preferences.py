"""What a person has chosen for their own pages."""

from __future__ import annotations

from approvals.models import Preference


def preference_of(user_id: int) -> Preference:
    """Return the person's settings, or the defaults where nothing was chosen yet."""
    return Preference.objects.filter(pk=user_id).first() or Preference(user_id=user_id)
