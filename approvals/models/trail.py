"""The trail of each request: its entries, what they showed, and the seals over them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from approvals.models.record import OnRecord
from approvals.models.requests import HumanRequest
from approvals.models.tokens import ApiToken


class Event(models.TextChoices):
    """What happened to a request, as the trail records it."""

    OPENED = "opened"
    VIEWED = "viewed"
    DECIDED = "decided"
    ANSWERED = "answered"
    REFUSED = "refused"
    TIMED_OUT = "timed_out", "timed out"
    WITHDRAWN = "withdrawn"
    REASSIGNED = "reassigned"
    ESCALATED = "escalated"
    COMMENTED = "commented"
    QUESTIONED = "questioned"
    RESCHEDULED = "rescheduled"
    STUCK = "stuck"
    PURGED = "purged"


# What people say to each other about a request.
REMARKS = (Event.COMMENTED, Event.QUESTIONED)


class AuditEntry(OnRecord):
    """One link of a request's trail. `canonical` is the exact text that was hashed (RFC 8785).

    `outcome` is empty unless this entry closed the request. `recorded_at` is the database's clock.
    """

    id = models.BigAutoField(primary_key=True)
    request = models.ForeignKey(HumanRequest, on_delete=models.PROTECT, related_name="entries")
    sequence = models.PositiveIntegerField()
    event = models.CharField(max_length=16, choices=Event.choices)
    outcome = models.CharField(max_length=16, blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="audit_entries"
    )
    on_behalf_of = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="audit_entries_on_behalf"
    )
    channel = models.CharField(max_length=16)
    token = models.ForeignKey(ApiToken, on_delete=models.PROTECT, null=True, related_name="audit_entries")
    address = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=400, blank=True)
    allowed_by = models.CharField(max_length=100, blank=True)
    recorded_at = models.DateTimeField(db_index=True)
    content_hash = models.CharField(max_length=64)
    previous_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)
    canonical = models.TextField()
    format = models.PositiveSmallIntegerField(default=1)

    class Meta:
        verbose_name_plural = "audit entries"
        permissions = [("view_report", "Can read reports on all requests")]
        constraints = [
            models.UniqueConstraint(name="audit_entry_in_sequence", fields=["request", "sequence"]),
            models.UniqueConstraint(name="audit_closes_once", fields=["request"], condition=~Q(outcome="")),
        ]
        indexes = [
            # How much somebody has said lately.
            models.Index(
                name="audit_remarks",
                fields=["actor", "recorded_at"],
                condition=Q(event__in=[event.value for event in REMARKS]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.request_id}#{self.sequence} {self.event}"


class ShownContent(OnRecord):
    """The content of an entry: what its actor was shown or said. If purged, its salted SHA-256 stays."""

    entry = models.OneToOneField(
        AuditEntry, on_delete=models.PROTECT, primary_key=True, related_name="shown", db_constraint=False
    )
    salt = models.CharField(max_length=32)
    content = models.TextField()

    def __str__(self) -> str:
        return f"content of entry {self.entry_id}"


class Seal(OnRecord):
    """A signature over all entries with ids from `first_entry` to `last_entry`, and over the seal before it.

    `canonical` is the exact text that was hashed and signed (Ed25519); the columns repeat what it says.
    """

    number = models.PositiveIntegerField(primary_key=True)
    first_entry = models.BigIntegerField()
    last_entry = models.BigIntegerField()
    entries = models.BigIntegerField()
    chains = models.BigIntegerField()
    digest = models.CharField(max_length=64)
    previous_hash = models.CharField(max_length=64, blank=True)
    sealed_at = models.DateTimeField()
    public_key = models.CharField(max_length=64)
    canonical = models.TextField()
    hash = models.CharField(max_length=64)
    signature = models.CharField(max_length=128)

    def __str__(self) -> str:
        return f"seal {self.number} over {self.entries} entries"
