"""What requests are told: when to look, and each message on its way."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from approvals.domain.telling import EVENTS
from approvals.models.deliveries import Delivery, DeliveryAttempt
from approvals.models.destinations import Destination
from approvals.models.record import OnRecord
from approvals.models.requests import HumanRequest


class Watch(OnRecord):
    """When to look next whom a request is to be told to.

    It has a row for each request that was opened while people are told. `told_to` is the last entry of the
    trail that has been considered, `reminders` counts what was told without an entry. The process that looks
    has claimed the row until `claimed_until` (database clock).
    """

    # Without a constraint of its own, as responses: it is written with its request.
    request = models.OneToOneField(
        HumanRequest, primary_key=True, on_delete=models.PROTECT, related_name="watch", db_constraint=False
    )
    due_at = models.DateTimeField(null=True)
    claimed_until = models.DateTimeField(null=True)
    told_to = models.PositiveIntegerField(default=0)
    reminders = models.PositiveSmallIntegerField(default=0)

    class Meta:
        default_permissions = ()
        verbose_name_plural = "watches"
        indexes = [
            models.Index(name="watch_due", fields=["due_at", "request"], condition=Q(due_at__isnull=False))
        ]

    def __str__(self) -> str:
        return f"watch of {self.request_id}"


class NotificationStatus(models.TextChoices):
    """Whether a notification waits, was sent, has no point any more, or was given up."""

    WAITING = "waiting"
    DELIVERED = "delivered", "sent"
    MOOT = "moot", "not needed any more"
    GIVEN_UP = "given_up", "given up"


class Notification(Delivery):
    """One event of a request on its way to one destination. Its words are made when it is sent, and not kept.

    `sequence` is the entry of the trail that it tells, or the number of the reminder; `fetches` is how often
    its personal link was fetched, by people or programs, and `used_at` when that decided the request. Those
    with the same `digest`, which is when they were due, go to their destination in one message; `greets`: it
    tells what waited when its destination or delegation was new. `first_due_at` is when it was due first, if
    it was due again later than that by somebody's wish.
    """

    status = models.CharField(
        max_length=16, choices=NotificationStatus.choices, default=NotificationStatus.WAITING
    )
    request = models.ForeignKey(
        HumanRequest, on_delete=models.PROTECT, related_name="notifications", db_constraint=False
    )
    event = models.CharField(max_length=16, choices=[(event.value, words) for event, words in EVENTS.items()])
    sequence = models.PositiveIntegerField()
    # The index below serves as this key's own.
    destination = models.ForeignKey(
        Destination, on_delete=models.CASCADE, related_name="notifications", db_index=False
    )
    fetches = models.PositiveIntegerField(default=0, db_default=0)
    used_at = models.DateTimeField(null=True)
    digest = models.DateTimeField(null=True)
    greets = models.BooleanField(default=False, db_default=False)
    first_due_at = models.DateTimeField(null=True)

    class Meta(Delivery.Meta):
        default_permissions = ()
        constraints = [
            *Delivery.Meta.constraints,
            models.UniqueConstraint(
                name="notified_once", fields=["request", "event", "sequence", "destination"]
            ),
        ]
        indexes = [
            models.Index(
                name="notification_due",
                fields=["due_at", "id"],
                condition=Q(status=NotificationStatus.WAITING),
            ),
            models.Index(name="notification_changed", fields=["changed_at"]),
            models.Index(name="notification_created", fields=["created_at", "id"]),
            models.Index(name="notification_destination", fields=["destination", "created_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.event} of {self.request_id}"


class NotificationAttempt(DeliveryAttempt):
    """One attempt to send a notification: how long it took, and the answer or error."""

    notification = models.ForeignKey(Notification, on_delete=models.CASCADE, related_name="attempt_set")

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(name="sending_in_sequence", fields=["notification", "number"])]

    def __str__(self) -> str:
        return f"{self.notification_id}#{self.number}: {self.status_code or self.error}"
