"""Saves and removes what a person has chosen: for their own pages, and what they are told about.

`approvals.queries` reads it.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction

from approvals.models import Destination, DestinationKind, Preference


def save(user_id: int, chosen: dict[str, Any]) -> None:
    """Save these settings by the names of their fields, and as `told` the events of mail; others stay."""
    own = {name: value for name, value in chosen.items() if name != "told"}
    with transaction.atomic():
        Preference.objects.update_or_create(pk=user_id, defaults=own)
        if "told" in chosen:
            Destination.objects.update_or_create(
                user_id=user_id, kind=DestinationKind.EMAIL, defaults={"events": chosen["told"]}
            )


def unsubscribe(destination_id: int) -> None:
    """Tell nothing to this destination any more, until its person chooses again."""
    Destination.objects.filter(pk=destination_id).update(events=[])


def forget(user_id: int) -> None:
    """Remove all settings of this person, and where they were told, with what is on its way there."""
    Preference.objects.filter(pk=user_id).delete()
    Destination.objects.filter(user_id=user_id).delete()
