"""What a person has chosen for their own pages, and what they are told about."""

from __future__ import annotations

from collections.abc import Collection
from datetime import tzinfo

from approvals.domain.quiet_hours import QuietHours, zone_called
from approvals.domain.telling import told_unasked
from approvals.models import Destination, DestinationKind, Preference


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


def time_zones_of(user_ids: Collection[int]) -> dict[int, tzinfo]:
    """Return the time zones that these people have chosen."""
    chosen = Preference.objects.filter(pk__in=user_ids).values_list("pk", "time_zone")
    return {pk: zone_called(name) for pk, name in chosen}


def is_destination(destination_id: int) -> bool:
    """Tell whether there is this destination: it goes with the account of its person."""
    return Destination.objects.filter(pk=destination_id).exists()


def told_by_mail(user_id: int) -> list[str]:
    """Return the events that the person is told by mail."""
    mail = Destination.objects.filter(user_id=user_id, kind=DestinationKind.EMAIL).first()
    return told_unasked() if mail is None else list(mail.events)
