"""The rows: requests, responses, the trail, and what was shown. Fields and constraints, no behaviour.

Default managers only read. The managers named `writing` belong to decisions and audit.py; those of tokens,
callbacks and letters to the modules of these names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import F, Q

from approvals.database.fields import JSONText, new_id
from approvals.domain.lifecycle import CLOSED, LEGAL_MOVES, Kind, Status, Verdict

if TYPE_CHECKING:
    QuerySet = models.QuerySet[Any]
    Manager = models.Manager[Any]
else:
    QuerySet = models.QuerySet
    Manager = models.Manager


# So much of an origin's id is kept in a column of its own, to be found by.
ORIGIN_ID_LIMIT = 100


class ReadOnlyQuerySet(QuerySet):
    """Rows of the record are written by approvals.writer.execution only."""

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        raise TypeError(f"{self.model.__name__} rows are written by approvals.writer.execution only")

    create = get_or_create = update_or_create = bulk_create = bulk_update = update = delete = _refuse
    acreate = aget_or_create = aupdate_or_create = abulk_create = abulk_update = aupdate = adelete = _refuse
    _raw_delete = _refuse


class ReadOnlyManager(Manager):
    def get_queryset(self) -> QuerySet:
        return ReadOnlyQuerySet(self.model, using=self._db)


class OnRecord(models.Model):
    """Base of every row on record: readable by all, saved and deleted by nobody."""

    objects: ClassVar[Manager] = ReadOnlyManager()
    writing: ClassVar[Manager] = Manager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"{type(self).__name__} rows are written by approvals.writer.execution only")

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"{type(self).__name__} rows are never deleted")


class HumanRequest(OnRecord):
    """One question to people: an approval of an exact action, or a clarification."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    kind = models.CharField(max_length=16, choices=[(kind.value, kind.value) for kind in Kind])
    title = models.CharField(max_length=200)
    details = models.TextField(blank=True)
    arguments = JSONText(default=dict)
    editable = JSONText(default=bool)
    choices = JSONText(null=True)
    multiple = models.BooleanField(default=False)
    schema = JSONText(null=True)
    status = models.CharField(
        max_length=16,
        choices=[(status.value, status.value.replace("_", " ")) for status in Status],
        default=Status.PENDING,
    )
    requester = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="requests_made"
    )
    assigned_users = models.ManyToManyField(
        settings.AUTH_USER_MODEL, through="UserAssignment", related_name="requests_assigned"
    )
    assigned_groups = models.ManyToManyField(
        Group, through="GroupAssignment", related_name="requests_assigned"
    )
    required = models.PositiveIntegerField(default=1)
    four_eyes = models.BooleanField(default=False)
    key = models.CharField(max_length=200, blank=True)
    key_scope = models.CharField(max_length=100, blank=True)
    round = models.PositiveIntegerField(default=1)
    opened_at = models.DateTimeField()
    deadline = models.DateTimeField(null=True)
    on_timeout = models.CharField(
        max_length=16, blank=True, choices=[(verdict.value, verdict.value) for verdict in Verdict]
    )
    default = JSONText(null=True)
    origin = JSONText(default=dict)
    origin_id = models.CharField(max_length=ORIGIN_ID_LIMIT, blank=True)
    # What the asker's whole question hashes to, where its `key` may not be used for any other.
    fingerprint = models.CharField(max_length=64, blank=True)
    # Where the outcome is posted.
    callback_url = models.CharField(max_length=2000, blank=True)
    # While it is pending, its bytes count against what its requester may ask over HTTP; 0: not counted.
    counted_bytes = models.PositiveIntegerField(default=0, db_default=0)

    # What it has come to.
    closed_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField()
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="requests_decided"
    )
    answer = JSONText(null=True)
    final_arguments = JSONText(null=True)
    comment = models.TextField(blank=True)
    approvals = models.PositiveIntegerField(default=0)
    # When retention took away what it asked and what was said.
    purged_at = models.DateTimeField(null=True)

    # The head of this request's trail: its last entry's number and hash.
    trail_length = models.PositiveIntegerField(default=0)
    trail_head = models.CharField(max_length=64, blank=True)

    class Meta:
        permissions = [
            ("decide_humanrequest", "Can decide requests that are assigned to nobody"),
            ("ask_without_limit", "Can ask over HTTP without limit"),
        ]
        verbose_name = "request"
        constraints = [
            models.CheckConstraint(
                name="request_status_fits_kind",
                condition=Q(status=Status.PENDING)
                | Q(kind=Kind.APPROVAL, status__in=sorted(LEGAL_MOVES[Kind.APPROVAL]))
                | Q(kind=Kind.CLARIFICATION, status__in=sorted(LEGAL_MOVES[Kind.CLARIFICATION])),
            ),
            models.CheckConstraint(
                name="request_closed_at_fits_status",
                condition=Q(status=Status.PENDING, closed_at__isnull=True)
                | Q(status__in=sorted(CLOSED), closed_at__isnull=False),
            ),
            models.CheckConstraint(
                name="request_decided_in_time",
                condition=~Q(status__in=[Status.APPROVED, Status.REJECTED, Status.ANSWERED])
                | Q(deadline__isnull=True)
                | Q(closed_at__lt=F("deadline")),
            ),
            models.CheckConstraint(
                name="request_times_out_at_its_deadline",
                condition=~Q(status=Status.TIMED_OUT)
                | Q(deadline__isnull=False, closed_at__gte=F("deadline")),
            ),
            models.CheckConstraint(name="request_required_is_positive", condition=Q(required__gte=1)),
            models.CheckConstraint(
                name="request_on_timeout_fits_kind",
                condition=Q(kind=Kind.APPROVAL, on_timeout__in=[Verdict.APPROVE, Verdict.REJECT])
                | Q(kind=Kind.CLARIFICATION, on_timeout=""),
            ),
            models.UniqueConstraint(
                name="request_key_once_a_round", fields=["key_scope", "key", "round"], condition=~Q(key="")
            ),
        ]
        indexes = [
            models.Index(
                name="request_due",
                fields=["deadline", "id"],
                condition=Q(status=Status.PENDING, deadline__isnull=False),
            ),
            models.Index(
                name="request_inbox", fields=["opened_at", "id"], condition=Q(status=Status.PENDING)
            ),
            # What is due first, of all that is pending and of all that one person has asked.
            models.Index(
                name="request_due_first",
                fields=["deadline", "opened_at", "id"],
                condition=Q(status=Status.PENDING),
            ),
            models.Index(
                name="request_asked_due_first",
                fields=["requester", "deadline", "opened_at", "id"],
                condition=Q(status=Status.PENDING),
            ),
            models.Index(
                name="request_counted",
                fields=["requester", "counted_bytes"],
                condition=Q(status=Status.PENDING, counted_bytes__gt=0),
            ),
            # Not partial: the re-check looks for requests that closed as well as for those that opened.
            models.Index(name="request_changed", fields=["changed_at", "id"]),
            models.Index(name="request_opened", fields=["opened_at", "id"]),
            models.Index(name="request_of_origin", fields=["origin_id", "id"], condition=~Q(origin_id="")),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def assignees(self) -> list[Any]:
        """The users and groups that are named to decide; empty: whoever has the permission."""
        return [*self.assigned_users.all(), *self.assigned_groups.all()]


class _OfKind(ReadOnlyManager):
    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind

    def get_queryset(self) -> QuerySet:
        return super().get_queryset().filter(kind=self.kind)


class Approval(HumanRequest):
    objects: ClassVar[Manager] = _OfKind(Kind.APPROVAL)

    class Meta:
        proxy = True


class Clarification(HumanRequest):
    objects: ClassVar[Manager] = _OfKind(Kind.CLARIFICATION)

    class Meta:
        proxy = True


class UserAssignment(OnRecord):
    """A user who is named to decide a request."""

    request = models.ForeignKey(HumanRequest, on_delete=models.PROTECT)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    # As its request is: what waits for somebody is found without all that ever did.
    pending = models.BooleanField(default=True)

    class Meta:
        constraints = [models.UniqueConstraint(name="user_assigned_once", fields=["request", "user"])]
        indexes = [
            models.Index(name="user_assigned_now", fields=["user", "request"], condition=Q(pending=True))
        ]

    def __str__(self) -> str:
        return f"{self.user_id} decides {self.request_id}"


class GroupAssignment(OnRecord):
    """A group whose members are named to decide a request."""

    request = models.ForeignKey(HumanRequest, on_delete=models.PROTECT)
    group = models.ForeignKey(Group, on_delete=models.PROTECT)
    # As with users.
    pending = models.BooleanField(default=True)

    class Meta:
        constraints = [models.UniqueConstraint(name="group_assigned_once", fields=["request", "group"])]
        indexes = [
            models.Index(name="group_assigned_now", fields=["group", "request"], condition=Q(pending=True))
        ]

    def __str__(self) -> str:
        return f"group {self.group_id} decides {self.request_id}"


class Response(OnRecord):
    """What one person said: a vote on an approval, or the answer to a clarification."""

    request = models.ForeignKey(HumanRequest, on_delete=models.PROTECT, related_name="responses")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="responses"
    )
    verdict = models.CharField(
        max_length=16, blank=True, choices=[(verdict.value, verdict.value) for verdict in Verdict]
    )
    answer = JSONText(null=True)
    arguments = JSONText(null=True)
    comment = models.TextField(blank=True)
    channel = models.CharField(max_length=16)
    given_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="response_once_a_person", fields=["request", "actor"]),
            models.UniqueConstraint(
                name="response_once_by_program", fields=["request"], condition=Q(actor__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.actor_id}: {self.verdict or 'answer'}"


class ApiToken(OnRecord):
    """What a program shows to act as its user. Only the secret's SHA-256 is kept, and its `prefix`."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="api_tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12)
    secret_hash = models.CharField(max_length=64, unique=True)
    scopes = JSONText(default=list)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="api_tokens_revoked"
    )

    class Meta:
        verbose_name = "API token"
        permissions = [("revoke_apitoken", "Can revoke API tokens")]
        indexes = [
            models.Index(name="token_revoked", fields=["revoked_at"], condition=Q(revoked_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class Event(models.TextChoices):
    """What happened to a request, as the trail calls it."""

    OPENED = "opened"
    VIEWED = "viewed"
    DECIDED = "decided"
    ANSWERED = "answered"
    REFUSED = "refused"
    TIMED_OUT = "timed_out", "timed out"
    WITHDRAWN = "withdrawn"
    REASSIGNED = "reassigned"
    RESCHEDULED = "rescheduled"
    STUCK = "stuck"
    PURGED = "purged"


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

    def __str__(self) -> str:
        return f"{self.request_id}#{self.sequence} {self.event}"


class ShownContent(OnRecord):
    """What an entry's actor was shown or said. May be purged; the entry keeps its salted SHA-256."""

    entry = models.OneToOneField(AuditEntry, on_delete=models.PROTECT, primary_key=True, related_name="shown")
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


class DeliveryStatus(models.TextChoices):
    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up", "given up"


class Delivery(OnRecord):
    """Base of a row of an outbox: something on its way, tried until it arrives or is given up.

    Its id is the same at every attempt, so that receivers know what they have had. `due_at` is when the next
    attempt is due; who makes it has claimed the row until `claimed_until` (database clock).
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


class Callback(Delivery):
    """An outcome on its way to a `callback_url`, written in the transaction that closed the request.

    Its id is the `webhook-id` of every attempt.
    """

    request = models.OneToOneField(HumanRequest, on_delete=models.PROTECT, related_name="callback")
    url = models.CharField(max_length=2000)

    class Meta:
        permissions = [("resend_callback", "Can send outcomes again")]
        constraints = [
            models.CheckConstraint(
                name="callback_due_fits_status",
                condition=Q(status=DeliveryStatus.WAITING, due_at__isnull=False)
                | Q(~Q(status=DeliveryStatus.WAITING), due_at__isnull=True),
            ),
        ]
        indexes = [
            models.Index(
                name="callback_due", fields=["due_at", "id"], condition=Q(status=DeliveryStatus.WAITING)
            ),
            models.Index(name="callback_changed", fields=["changed_at", "id"]),
        ]

    def __str__(self) -> str:
        """Without its address, a part of which may be a secret: logs keep this, and nothing purges them."""
        return f"callback of {self.request_id}"


class LetterKind(models.TextChoices):
    PASSWORD_RESET = "password_reset", "password reset"


class Letter(Delivery):
    """An email on its way to a person: to whom and of what kind. Its words are made when it is sent."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=32, choices=LetterKind.choices)
    error = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="letter_due_fits_status",
                condition=Q(status=DeliveryStatus.WAITING, due_at__isnull=False)
                | Q(~Q(status=DeliveryStatus.WAITING), due_at__isnull=True),
            ),
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
        """Without the person: logs keep this, and nothing purges them."""
        return f"{self.get_kind_display()} {self.pk}"


class CallbackAttempt(OnRecord):
    """One attempt to post an outcome, how long it took, and what was answered or went wrong."""

    callback = models.ForeignKey(Callback, on_delete=models.PROTECT, related_name="attempt_set")
    number = models.PositiveIntegerField()
    ended_at = models.DateTimeField()
    seconds = models.FloatField()
    status_code = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(name="attempt_in_sequence", fields=["callback", "number"])]

    def __str__(self) -> str:
        return f"{self.callback_id}#{self.number}: {self.status_code or self.error}"
