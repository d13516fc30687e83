"""Saves and removes what a person has chosen: for their own pages, and what they are told about.

`approvals.queries` reads it.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import QuerySet

from approvals.delivery import addresses
from approvals.domain.telling import DestinationKind
from approvals.exceptions import InvalidRequest
from approvals.models import Destination, Preference
from approvals.writer import greetings, new_addresses

# What people remove themselves; administrators add chats.
REMOVABLE = (DestinationKind.WEBHOOK, DestinationKind.EMAIL)
# Of one person, beside the address of the account.
WEBHOOKS_AT_MOST = ADDRESSES_AT_MOST = 5


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


def change_events(user_id: int, destination_id: int, events: list[str]) -> None:
    """Tell this place these events from now on; nothing happens where it is none of this person's."""
    _added(user_id).filter(pk=destination_id).update(events=events)


def remove_destination(user_id: int, destination_id: int) -> None:
    """Tell nothing to this webhook or address any more; nothing happens where it is none of this person's."""
    _added(user_id).filter(pk=destination_id, kind__in=REMOVABLE).delete()


def ask_for_code(user_id: int, address: str, label: str, events: list[str]) -> None:
    """Have a code sent to this mail address, which is told these events once that is entered.

    InvalidRequest where there are enough, where it is told already, or after too many codes.
    """
    theirs = list(_added(user_id).filter(kind=DestinationKind.EMAIL).values_list("address", flat=True))
    if len(theirs) >= ADDRESSES_AT_MOST:
        raise InvalidRequest(f"address must not be one more: you have {ADDRESSES_AT_MOST}.", field="address")
    of_account = get_user_model()._default_manager.values_list("email", flat=True).get(pk=user_id)
    known = {of_account.casefold(), *((addresses.decrypt(one) or "").casefold() for one in theirs)}
    if address.casefold() in known:
        raise InvalidRequest("address must be another one: you are told there already.", field="address")
    new_addresses.ask(user_id, addresses.encrypt(address), label, events)


def _added(user_id: int) -> QuerySet[Destination]:
    """Return where this person is told beside the address of the account; without what is their groups'."""
    return Destination.objects.filter(user_id=user_id).exclude(address="")


def unsubscribe(destination_id: int) -> None:
    """Tell nothing to this destination any more, until its person chooses again."""
    Destination.objects.filter(pk=destination_id).update(events=[])


def forget(user_id: int) -> None:
    """Remove all settings of this person, and where they were told, with what is on its way there."""
    Preference.objects.filter(pk=user_id).delete()
    Destination.objects.filter(user_id=user_id).delete()
    new_addresses.drop(user_id)
