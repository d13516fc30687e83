"""The outboxes: outcomes on their way to a `callback_url`, and emails on their way to people."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from approvals.database.fields import new_id
from approvals.domain.request_terms import URL_LIMIT
from approvals.models.record import OnRecord
from approvals.models.requests import HumanRequest


class DeliveryStatus(models.TextChoices):
    """Whether a delivery waits, has succeeded or was given up."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up", "given up"


class Delivery(OnRecord):
    """Base of a row of an outbox: delivery is tried until it succeeds or is given up.

    Its id is the same at every attempt, so that receivers recognise repetitions. `due_at` is when the next
    attempt is due; the process that makes it has claimed the row until `claimed_until` (database clock).
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    status = models.CharField(max_length=16, choices=DeliveryStatus.choices, default=DeliveryStatus.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True)
    give_up_at = models.DateTimeField()
    claimed_until = models.DateTimeField(null=True)
    changed_at = models.DateTimeField()

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                name="%(class)s_due_fits_status",
                condition=Q(status=DeliveryStatus.WAITING, due_at__isnull=False)
                | Q(~Q(status=DeliveryStatus.WAITING), due_at__isnull=True),
            ),
        ]


class DeliveryAttempt(OnRecord):
    """Base of one attempt to deliver a row of an outbox: how long it took, and the answer or error."""

    number = models.PositiveIntegerField()
    ended_at = models.DateTimeField()
    seconds = models.FloatField()
    status_code = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        abstract = True


class Callback(Delivery):
    """An outcome to post to a `callback_url`, written in the transaction that closed the request.

    Its id is the `webhook-id` of every attempt.
    """

    request = models.OneToOneField(HumanRequest, on_delete=models.PROTECT, related_name="callback")
    url = models.CharField(max_length=URL_LIMIT)

    class Meta(Delivery.Meta):
        permissions = [("resend_callback", "Can send outcomes again")]
        indexes = [
            models.Index(
                name="callback_due", fields=["due_at", "id"], condition=Q(status=DeliveryStatus.WAITING)
            ),
            models.Index(name="callback_changed", fields=["changed_at", "id"]),
        ]

    def __str__(self) -> str:
        """Name the request, not the URL, which may have a secret: logs have this, and are not purged."""
        return f"callback of {self.request_id}"


class CallbackAttempt(DeliveryAttempt):
    """One attempt to post an outcome."""

    callback = models.ForeignKey(Callback, on_delete=models.PROTECT, related_name="attempt_set")

    class Meta:
        constraints = [models.UniqueConstraint(name="attempt_in_sequence", fields=["callback", "number"])]

    def __str__(self) -> str:
        return f"{self.callback_id}#{self.number}: {self.status_code or self.error}"


class LetterKind(models.TextChoices):
    """What a letter is for, which names its templates."""

    PASSWORD_RESET = "password_reset", "password reset"
    ADDRESS_CODE = "address_code", "code for an address"


class Letter(Delivery):
    """An email to a person: to whom and of what kind. Its text is made when it is sent."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=32, choices=LetterKind.choices)
    error = models.CharField(max_length=200, blank=True)

    class Meta(Delivery.Meta):
        constraints = [
            *Delivery.Meta.constraints,
            models.UniqueConstraint(
                name="one_letter_of_a_kind_waits",
                fields=["user", "kind"],
                condition=Q(status=DeliveryStatus.WAITING),
            ),
        ]
        indexes = [
            models.Index(
                name="letter_due", fields=["due_at", "id"], condition=Q(status=DeliveryStatus.WAITING)
            ),
            models.Index(name="letter_changed", fields=["changed_at"]),
        ]

    def __str__(self) -> str:
        """Name the kind, not the person: logs have this, and are not purged."""
        return f"{self.get_kind_display()} {self.pk}"
