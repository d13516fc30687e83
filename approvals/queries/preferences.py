"""What a person has chosen for their own pages, and what they are told about."""

from __future__ import annotations

from approvals.domain.telling import told_unasked
from approvals.models import Destination, DestinationKind, Preference


def preference_of(user_id: int) -> Preference:
    """Return the person's settings, or the defaults where nothing was chosen yet."""
    return Preference.objects.filter(pk=user_id).first() or Preference(user_id=user_id)


def told_by_mail(user_id: int) -> list[str]:
    """Return the events that the person is told by mail."""
    mail = Destination.objects.filter(user_id=user_id, kind=DestinationKind.EMAIL).first()
    return told_unasked() if mail is None else list(mail.events)
