"""Who decides for whom while that one is away."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from approvals.database.fields import new_id
from approvals.models.record import OnRecord

REASON_LIMIT = 500


class Delegation(OnRecord):
    """From `starts_at` until `ends_at` the delegate decides for the principal, unless it was ended before.

    It is never deleted: the trail says on whose behalf somebody decided, this says since when and why.
    `to_greet`: once it begins, the delegate has yet to be told what waits.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # Indexed below.
    principal = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    delegate = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    reason = models.CharField(max_length=REASON_LIMIT, blank=True)
    # None: from a terminal.
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    made_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    to_greet = models.BooleanField(default=False, db_default=False)

    class Meta:
        default_permissions = ()
        permissions = [("manage_delegation", "Can say who decides for whom")]
        constraints = [
            models.CheckConstraint(name="delegation_to_somebody_else", condition=~Q(principal=F("delegate"))),
            models.CheckConstraint(
                name="delegation_ends_after_it_starts", condition=Q(ends_at__gt=F("starts_at"))
            ),
            models.CheckConstraint(
                name="delegation_ended_by_somebody_at_some_time",
                condition=Q(ended_at__isnull=False) | Q(ended_by__isnull=True),
            ),
        ]
        indexes = [
            # What is not ended: for whom somebody stands, and who stands for somebody.
            models.Index(
                name="delegation_to", fields=["delegate", "ends_at"], condition=Q(ended_at__isnull=True)
            ),
            models.Index(
                name="delegation_until", fields=["ends_at", "id"], condition=Q(ended_at__isnull=True)
            ),
            models.Index(name="delegation_of", fields=["principal", "ends_at"]),
            models.Index(name="delegation_of_delegate", fields=["delegate", "id"]),
            # What was made or ended since a moment; the list of all, the newest first.
            models.Index(name="delegation_made", fields=["made_at", "id"]),
            models.Index(name="delegation_to_greet", fields=["starts_at", "id"], condition=Q(to_greet=True)),
            models.Index(name="delegation_ended", fields=["ended_at"], condition=Q(ended_at__isnull=False)),
        ]

    def __str__(self) -> str:
        """Name nobody: logs have this, and are not purged."""
        return f"delegation {self.pk}"
