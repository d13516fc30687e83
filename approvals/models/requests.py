"""Requests to people, who is named to decide them, and what was said."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from approvals.database.fields import JSONText, new_id
from approvals.domain.lifecycle import (
    CLOSED,
    LEGAL_MOVES,
    Kind,
    Severity,
    Status,
    Verdict,
    usual_decisions,
)
from approvals.domain.request_terms import KEY_LIMIT, URL_LIMIT
from approvals.domain.term_rules import GROUP_LIMIT, ORIGIN_LIMIT, REMIND_AT, TITLE_LIMIT
from approvals.models.record import Manager, OnRecord, QuerySet, ReadOnlyManager

# This many characters of an origin's id have a column of their own, to search by.
ORIGIN_ID_LIMIT = 100
# Whose a key is, with the id of a run or of a user.
SCOPE_LIMIT = ORIGIN_LIMIT + 10


class HumanRequest(OnRecord):
    """One question to people: an approval of an exact action, or a clarification."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    kind = models.CharField(max_length=16, choices=[(kind.value, kind.value) for kind in Kind])
    title = models.CharField(max_length=TITLE_LIMIT)
    details = models.TextField(blank=True)
    context = models.TextField(blank=True, default="", db_default="")
    links = JSONText(default=list, db_default=[])
    metadata = JSONText(default=dict, db_default={})
    # Its key has a column of its own, to look for.
    group = JSONText(default=dict, db_default={})
    group_key = models.CharField(max_length=GROUP_LIMIT, blank=True, default="", db_default="")
    severity = models.CharField(
        max_length=16,
        choices=[(severity.value, severity.value) for severity in Severity],
        default=Severity.NORMAL.value,
        db_default=Severity.NORMAL.value,
    )
    arguments = JSONText(default=dict)
    highlight = JSONText(default=list, db_default=[])
    editable = JSONText(default=bool)
    choices = JSONText(null=True)
    multiple = models.BooleanField(default=False)
    schema = JSONText(null=True)
    status = models.CharField(
        max_length=16,
        choices=[(status.value, status.value.replace("_", " ")) for status in Status],
        default=Status.PENDING,
    )
    # Indexed below, in the order of lists; so is `decided_by`.
    requester = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="requests_made",
        db_index=False,
    )
    assigned_users = models.ManyToManyField(
        settings.AUTH_USER_MODEL, through="UserAssignment", related_name="requests_assigned"
    )
    assigned_groups = models.ManyToManyField(
        Group, through="GroupAssignment", related_name="requests_assigned"
    )
    required = models.PositiveIntegerField(default=1)
    four_eyes = models.BooleanField(default=False)
    key = models.CharField(max_length=KEY_LIMIT, blank=True)
    key_scope = models.CharField(max_length=SCOPE_LIMIT, blank=True)
    round = models.PositiveIntegerField(default=1)
    opened_at = models.DateTimeField()
    deadline = models.DateTimeField(null=True)
    # Who decides as well, or instead, from when; how many of these steps were done, and when the next is due
    # if the request is still pending by then.
    escalation = JSONText(default=list, db_default=[])
    escalated = models.PositiveSmallIntegerField(default=0, db_default=0)
    escalates_at = models.DateTimeField(null=True)
    # The share of its time after which those are reminded who have not decided; 0: never.
    remind = JSONText(default=REMIND_AT, db_default=REMIND_AT)
    confidential = models.BooleanField(default=False, db_default=False)
    decisions = JSONText(default=usual_decisions, db_default=usual_decisions())
    reason_required = models.BooleanField(default=False, db_default=False)
    on_timeout = models.CharField(
        max_length=16, blank=True, choices=[(verdict.value, verdict.value) for verdict in Verdict]
    )
    default = JSONText(null=True)
    origin = JSONText(default=dict)
    origin_id = models.CharField(max_length=ORIGIN_ID_LIMIT, blank=True)
    # The hash of the whole question, if its `key` may not be used for another one.
    fingerprint = models.CharField(max_length=64, blank=True)
    # Where the outcome is posted.
    callback_url = models.CharField(max_length=URL_LIMIT, blank=True)
    # While pending, these bytes count against the quota of its requester over HTTP; 0: not counted.
    counted_bytes = models.PositiveIntegerField(default=0, db_default=0)

    # The outcome.
    closed_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField()
    # Without a constraint of its own, as the keys of responses: an entry names the same, see decision 11.
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="requests_decided",
        db_constraint=False,
        db_index=False,
    )
    answer = JSONText(null=True)
    final_arguments = JSONText(null=True)
    comment = models.TextField(blank=True)
    approvals = models.PositiveIntegerField(default=0)
    # When retention removed the question and what was said.
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
            models.CheckConstraint(
                name="request_answered_instead_needs_one",
                condition=~Q(kind=Kind.APPROVAL, status=Status.ANSWERED) | Q(required=1),
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
                name="request_escalates",
                fields=["escalates_at", "id"],
                condition=Q(status=Status.PENDING, escalates_at__isnull=False),
            ),
            models.Index(
                name="request_inbox", fields=["opened_at", "id"], condition=Q(status=Status.PENDING)
            ),
            # Pending requests by deadline: all, and those of one requester.
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
            # Closed requests by when they closed: all, those of one requester, those that one person closed,
            # and those that several may have voted on. SQLite sees that such conditions are met.
            models.Index(
                name="request_closed", fields=["closed_at", "id"], condition=Q(closed_at__isnull=False)
            ),
            # Not partial: a requester's pending ones are counted by it, too.
            models.Index(name="request_asked", fields=["requester", "closed_at", "id"]),
            models.Index(
                name="request_decided_by",
                fields=["decided_by", "closed_at", "id"],
                condition=Q(decided_by__isnull=False),
            ),
            models.Index(
                name="request_closed_by_votes",
                fields=["closed_at", "id"],
                condition=Q(closed_at__isnull=False, required__gt=1),
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
            models.Index(
                name="request_open_of_origin",
                fields=["origin_id", "opened_at", "id"],
                condition=Q(status=Status.PENDING) & ~Q(origin_id=""),
            ),
            # A group's, newest first: of any requester, and of one.
            models.Index(
                name="request_of_group", fields=["group_key", "opened_at", "id"], condition=~Q(group_key="")
            ),
            models.Index(
                name="request_of_own_group",
                fields=["group_key", "requester", "opened_at", "id"],
                condition=~Q(group_key=""),
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def assignees(self) -> list[Any]:
        """The users and groups that are named to decide; empty: any reviewer."""
        return [*self.assigned_users.all(), *self.assigned_groups.all()]


class _OfKind(ReadOnlyManager):
    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind

    def get_queryset(self) -> QuerySet:
        return super().get_queryset().filter(kind=self.kind)


class Approval(HumanRequest):
    """A request to approve or reject an exact action."""

    objects: ClassVar[Manager] = _OfKind(Kind.APPROVAL)

    class Meta:
        proxy = True


class Clarification(HumanRequest):
    """A request for an answer."""

    objects: ClassVar[Manager] = _OfKind(Kind.CLARIFICATION)

    class Meta:
        proxy = True
        verbose_name = "question"


class UserAssignment(OnRecord):
    """A user who is named to decide a request."""

    request = models.ForeignKey(HumanRequest, on_delete=models.PROTECT)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    # Whether the request is pending, so that an index finds what a user has to decide.
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
    pending = models.BooleanField(default=True)

    class Meta:
        constraints = [models.UniqueConstraint(name="group_assigned_once", fields=["request", "group"])]
        indexes = [
            models.Index(name="group_assigned_now", fields=["group", "request"], condition=Q(pending=True))
        ]

    def __str__(self) -> str:
        return f"group {self.group_id} decides {self.request_id}"


class Response(OnRecord):
    """One person's response: a vote on an approval, or the answer to a clarification.

    Somebody who stands for others has one vote all the same, and each of these has one, whoever casts it.
    """

    request = models.ForeignKey(
        HumanRequest, on_delete=models.PROTECT, related_name="responses", db_constraint=False
    )
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="responses",
        db_constraint=False,
    )
    on_behalf_of = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="responses_on_behalf",
        db_constraint=False,
        db_index=False,
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
                F("request"), Coalesce("on_behalf_of", "actor"), name="response_once_for_a_person"
            ),
            models.UniqueConstraint(
                name="response_once_by_program", fields=["request"], condition=Q(actor__isnull=True)
            ),
        ]
        indexes = [
            models.Index(
                name="response_on_behalf",
                fields=["on_behalf_of"],
                condition=Q(on_behalf_of__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.actor_id}: {self.verdict or 'answer'}"

    @property
    def principal_id(self) -> int | None:
        """Whose vote this is: that of whom it was given for; None: a program's."""
        return self.actor_id if self.on_behalf_of_id is None else self.on_behalf_of_id
