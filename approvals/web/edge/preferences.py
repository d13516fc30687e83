"""Saves and removes what a person has chosen: for their own pages, and what they are told about.

`approvals.queries` reads it.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction

from approvals.delivery import addresses
from approvals.domain.telling import DestinationKind
from approvals.exceptions import InvalidRequest
from approvals.models import Destination, Preference
from approvals.writer import greetings

# Of one person.
WEBHOOKS_AT_MOST = 5


def save(user_id: int, chosen: dict[str, Any]) -> None:
    """Save these settings by the names of their fields, and as `told` the events of mail; others stay."""
    own = {name: value for name, value in chosen.items() if name != "told"}
    with transaction.atomic():
        Preference.objects.update_or_create(pk=user_id, defaults=own)
        if "told" in chosen:
            Destination.objects.update_or_create(
                user_id=user_id,
                kind=DestinationKind.EMAIL,
                address="",
                defaults={"events": chosen["told"]},
            )


def add_webhook(user_id: int, address: str, label: str, events: list[str]) -> None:
    """Post these events to this address, which was checked, too. InvalidRequest where there are enough."""
    theirs = Destination.objects.filter(user_id=user_id, kind=DestinationKind.WEBHOOK)
    if theirs.count() >= WEBHOOKS_AT_MOST:
        raise InvalidRequest(f"address must not be one more: you have {WEBHOOKS_AT_MOST}.", field="address")
    added = Destination.objects.create(
        user_id=user_id,
        kind=DestinationKind.WEBHOOK,
        address=addresses.encrypt(address),
        label=label,
        events=events,
        to_greet=True,
    )
    greetings.hint(added.pk)


def remove_webhook(user_id: int, destination_id: int) -> None:
    """Post nothing there any more; nothing happens where it is none of this person's."""
    theirs = Destination.objects.filter(user_id=user_id, kind=DestinationKind.WEBHOOK)
    theirs.filter(pk=destination_id).delete()


def unsubscribe(destination_id: int) -> None:
    """Tell nothing to this destination any more, until its person chooses again."""
    Destination.objects.filter(pk=destination_id).update(events=[])


def forget(user_id: int) -> None:
    """Remove all settings of this person, and where they were told, with what is on its way there."""
    Preference.objects.filter(pk=user_id).delete()
    Destination.objects.filter(user_id=user_id).delete()
