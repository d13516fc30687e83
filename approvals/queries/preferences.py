"""What a person has chosen for their own pages, and what they are told about."""

from __future__ import annotations

from collections.abc import Collection

from django.contrib.auth.models import Group
from django.db import connection
from django.db.models import Q

from approvals.domain.quiet_hours import QuietHours, zone_called
from approvals.domain.telling import DestinationKind, told_unasked
from approvals.models import Destination, NewAddress, Preference


def preference_of(user_id: int) -> Preference:
    """Return the person's settings, or the defaults where nothing was chosen yet."""
    return Preference.objects.filter(pk=user_id).first() or Preference(user_id=user_id)


def quiet_hours_of(user_ids: Collection[int]) -> dict[int, QuietHours]:
    """Return when these people want to hear something; whoever has chosen nothing is left out."""
    return {
        chosen.pk: QuietHours(
            zone=zone_called(chosen.time_zone),
            begins=chosen.quiet_from,
            ends=chosen.quiet_until,
            days=chosen.quiet_days,
            urgent_breaks=chosen.urgent_breaks_quiet,
            digest_at=chosen.digest_at,
        )
        for chosen in Preference.objects.filter(pk__in=user_ids)
    }


def is_destination(destination_id: int) -> bool:
    """Tell whether there is this destination: it goes with the account of its person."""
    return Destination.objects.filter(pk=destination_id).exists()


def told_by_mail(user_id: int) -> list[str]:
    """Return the events that the person is told by mail."""
    mail = Destination.objects.filter(user_id=user_id, kind=DestinationKind.EMAIL, address="").first()
    return told_unasked() if mail is None else list(mail.events)


def destinations_of(user_id: int) -> list[Destination]:
    """Return where the person is told beside the mail to their account, and where their groups are."""
    theirs = Q(user=user_id) | Q(group__in=Group.objects.filter(user=user_id))
    found = Destination.objects.filter(theirs).exclude(address="")
    return list(found.select_related("group").order_by("created_at", "pk"))


def new_address_of(user_id: int) -> NewAddress | None:
    """Return the person's mail address that waits for its code."""
    return NewAddress.objects.filter(pk=user_id).first()


def destinations_of_group(group_id: int) -> list[Destination]:
    """Return where the group is told."""
    return list(Destination.objects.filter(group=group_id).order_by("created_at", "pk"))


def is_chat_used() -> bool:
    """Whether a destination is a chat; not before the tables are there."""
    if Destination._meta.db_table not in connection.introspection.table_names():
        return False
    return Destination.objects.filter(kind=DestinationKind.CHAT).exists()


def count_failing() -> int:
    """Count the destinations whose last attempt failed."""
    return Destination.objects.filter(failing_since__isnull=False).count()
