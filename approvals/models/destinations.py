"""Where people and groups hear of requests."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from approvals.database.fields import JSONText
from approvals.domain.telling import LABEL_LIMIT, DestinationKind, told_unasked


class Destination(models.Model):
    """Where a person or group hears of requests, and of which events. Not on record: it changes at will.

    `address` is encrypted (approvals.delivery.addresses). Without one, mail goes to the address of the
    person's account, whatever it is then. `failing_since` is when the first attempt failed that none after
    it has mended. `to_greet`: it is new, and has yet to be told what waits.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+")
    group = models.ForeignKey(Group, null=True, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(
        max_length=16,
        choices=[(kind.value, kind.value.capitalize()) for kind in DestinationKind],
        default=DestinationKind.EMAIL.value,
    )
    address = models.TextField(blank=True, default="")
    label = models.CharField(max_length=LABEL_LIMIT, blank=True, default="")
    events = JSONText(default=told_unasked)
    created_at = models.DateTimeField(db_default=Now())
    failing_since = models.DateTimeField(null=True)
    to_greet = models.BooleanField(default=False, db_default=False)

    class Meta:
        default_permissions = ()
        permissions = [("manage_destination", "Can say where groups and people are told")]
        constraints = [
            models.UniqueConstraint(
                name="destination_of_the_account", fields=["user", "kind"], condition=Q(address="")
            ),
            models.CheckConstraint(
                name="destination_of_one",
                condition=Q(user__isnull=False, group__isnull=True)
                | Q(user__isnull=True, group__isnull=False),
            ),
            models.CheckConstraint(
                name="destination_has_an_address",
                condition=~Q(address="") | Q(kind=DestinationKind.EMAIL.value, user__isnull=False),
            ),
        ]
        indexes = [
            models.Index(name="destination_created", fields=["created_at", "id"]),
            models.Index(name="destination_to_greet", fields=["id"], condition=Q(to_greet=True)),
        ]

    def __str__(self) -> str:
        """Name neither person nor address: logs have this, and are not purged."""
        return f"{self.kind} {self.pk}"

    @property
    def is_of_account(self) -> bool:
        """Whether it is the email address of a person's account."""
        return self.kind == DestinationKind.EMAIL and self.user_id is not None and not self.address

    @property
    def owner(self) -> str:
        """The name of the person or group that it is for. Reads them: select them along."""
        return self.group.name if self.group else self.user.get_username() if self.user else ""


class NewAddress(models.Model):
    """Another mail address of a person, one at a time: it counts once its code was entered.

    `address` is encrypted as that of a destination. `code_hash` is keyed, "" until a code was sent, which
    counts until `expires_at`; `tries` are how often one was entered since.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.CASCADE, related_name="+"
    )
    address = models.TextField()
    label = models.CharField(max_length=LABEL_LIMIT, blank=True, default="")
    events = JSONText(default=told_unasked)
    code_hash = models.CharField(max_length=64, blank=True, default="")
    expires_at = models.DateTimeField(null=True)
    tries = models.PositiveSmallIntegerField(default=0)

    class Meta:
        default_permissions = ()
        verbose_name_plural = "new addresses"

    def __str__(self) -> str:
        """Name neither person nor address: logs have this, and are not purged."""
        return f"new address {self.pk}"
