"""The models: processes with their leases, runs, step records, messages. Fields and constraints only.

Runs, steps and messages are written by orchestration.runs, leases by orchestration.engines.leases, overrides
of deciders by the admin, and WriteTrial by orchestration.observing.
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from django.conf import settings
from django.db import models
from django.db.models import Q

from approvals.database.fields import JSONText, new_id
from approvals.domain.questions import REVIEWERS


class RunStatus(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"


REASON_LIMIT = 32

OPEN = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING)
FINISHED = (RunStatus.COMPLETED, RunStatus.REJECTED, RunStatus.FAILED, RunStatus.CANCELLED)


class StepStatus(models.TextChoices):
    """The status of a recorded call.

    `started`: it may have had its effect, but has no result; `retrying`: its function raised, and will be
    called again; `open`: a person is asked; `sleeping`: until `due_at`; `given_up`: the run stopped waiting.
    """

    STARTED = "started"
    RETRYING = "retrying"
    OPEN = "open"
    SLEEPING = "sleeping"
    GIVEN_UP = "given_up", "Given up"
    DONE = "done"
    FAILED = "failed"


class Process(models.Model):
    """A process that executes runs, and its lease. All times are by the database's clock."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=200)
    started_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True, blank=True)
    # It takes up runs that nobody executes; a terminal executes only runs that it starts or is attached to.
    serves = models.BooleanField(default=True, db_default=True)

    class Meta:
        verbose_name_plural = "processes"
        indexes = [models.Index(name="process_lease", fields=["expires_at"])]

    def __str__(self) -> str:
        return self.name


class WriteTrial(models.Model):
    """The one row that the readiness probe writes, to see whether the database can be written."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    tried_at = models.DateTimeField()
    room = models.TextField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"tried at {self.tried_at}"


class KeptQuerySet(models.QuerySet["Run"]):
    """Runs, which are never deleted: requests of a deleted run would stay open for nothing."""

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        raise TypeError(f"{self.model.__name__} rows are never deleted")

    delete = adelete = _raw_delete = _refuse


class Run(models.Model):
    """One execution of an orchestration. `process` and `epoch` say who may write it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    orchestration = models.CharField(max_length=100)
    # The version that it began with, and keeps.
    version = models.PositiveIntegerField(default=1, db_default=1)
    title = models.CharField(max_length=200)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="runs"
    )
    input = JSONText(default=dict)
    key = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=16, choices=RunStatus.choices, default=RunStatus.QUEUED)
    # Why it ended so: rejected, responded, timed_out, withdrawn, step_failed, interrupted, … or empty.
    reason = models.CharField(max_length=REASON_LIMIT, blank=True)
    result = JSONText(null=True, blank=True)
    error = models.TextField(blank=True)
    plan = JSONText(default=list, blank=True)
    plan_round = models.PositiveIntegerField(default=0)

    process = models.ForeignKey(
        Process, on_delete=models.SET_NULL, null=True, blank=True, related_name="runs"
    )
    epoch = models.PositiveIntegerField(default=0)
    # Its code or a step executes, or did when its process died; False while it only waits.
    executing = models.BooleanField(default=False, db_default=False)
    # How often in a row its process died while it executed, with nothing new on record in between.
    deaths = models.PositiveIntegerField(default=0, db_default=0)
    resumed = models.PositiveIntegerField(default=0)
    # The last time. Requests from before it that are closed are asked again.
    resumed_at = models.DateTimeField(null=True, blank=True)
    resumed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancelled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    # Channel, address, user agent and token of the cancellation, for the trail of the run's requests.
    cancelled_from = JSONText(default=dict, blank=True, db_default={})
    # It has ended, and may have open requests, which must be withdrawn.
    leaves_requests = models.BooleanField(default=False)

    created_at = models.DateTimeField()
    # Channel of the start, and the API token if there was one. Empty: it is older than this column.
    started_from = JSONText(default=dict, blank=True, db_default={})
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField()
    # When a call of it was recorded last: a message that grows changes `changed_at` alone.
    recorded_at = models.DateTimeField(null=True, blank=True)
    # When retention removed input, result and messages.
    purged_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[models.Manager[Run]] = KeptQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="run_finished_at_fits_status",
                condition=Q(status__in=OPEN, finished_at__isnull=True)
                | Q(status__in=FINISHED, finished_at__isnull=False),
            ),
            models.UniqueConstraint(
                name="run_key_once_an_owner",
                fields=["owner", "key"],
                condition=~Q(key="") & Q(owner__isnull=False),
            ),
            models.UniqueConstraint(
                name="run_key_once_without_owner",
                fields=["key"],
                condition=~Q(key="") & Q(owner__isnull=True),
            ),
        ]
        indexes = [
            models.Index(name="run_open", fields=["process", "id"], condition=Q(status__in=OPEN)),
            models.Index(name="run_untidy", fields=["id"], condition=Q(leaves_requests=True)),
            models.Index(name="run_of_owner", fields=["owner", "-created_at", "-id"]),
            models.Index(name="run_created", fields=["-created_at", "-id"]),
            # By state. Partial, so that a run that goes on costs them nothing; SQLite, too, sees that such a
            # condition is met.
            models.Index(
                name="run_ended_of_owner",
                fields=["owner", "status", "-created_at", "-id"],
                condition=Q(finished_at__isnull=False),
            ),
            models.Index(
                name="run_ended",
                fields=["status", "-created_at", "-id"],
                condition=Q(finished_at__isnull=False),
            ),
            # Not partial: the re-check also looks for runs that have ended.
            models.Index(name="run_changed", fields=["changed_at", "id"]),
        ]

    def __str__(self) -> str:
        return self.title

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("Run rows are never deleted")


class DecidersOverride(models.Model):
    """Who decides for an orchestration, as an administrator has set it, for requests opened from then on.

    It replaces what the orchestration was registered with; fields that are not set change nothing.
    """

    orchestration = models.CharField(max_length=100, unique=True)
    # Names of users and groups.
    deciders = JSONText(default=list, blank=True)
    reviewers = models.BooleanField(
        "any reviewer",
        default=False,
        help_text="Whoever has the permission to decide what is assigned to nobody.",
    )
    four_eyes = models.BooleanField(
        null=True, blank=True, help_text="Whether whoever started the run may not decide."
    )
    changed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    changed_at = models.DateTimeField()

    class Meta:
        verbose_name = "override of deciders"
        verbose_name_plural = "overrides of deciders"

    def __str__(self) -> str:
        return self.orchestration

    @property
    def names_somebody(self) -> bool:
        """Whether the override says who decides."""
        return self.reviewers or bool(self.deciders)

    @property
    def names(self) -> Any:
        """Names of users and groups, or REVIEWERS."""
        return REVIEWERS if self.reviewers else self.deciders


class StepRecord(models.Model):
    """One recorded call of a run. `position` numbers the calls without a key of their own.

    `started_at`, `begun_by` (host and process id) and `error` are of the last attempt that had such. While a
    question is open, `result` may say up to where what was asked back about it was considered.
    """

    id = models.BigAutoField(primary_key=True)
    # Its index is that of the records in their order.
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="steps", db_index=False)
    key = models.CharField(max_length=200)
    position = models.PositiveIntegerField(null=True, blank=True)
    kind = models.CharField(max_length=16)
    name = models.CharField(max_length=200)
    fingerprint = models.CharField(max_length=64)
    status = models.CharField(max_length=16, choices=StepStatus.choices)
    request_id = models.UUIDField(null=True, blank=True)
    result = JSONText(null=True, blank=True)
    error = models.TextField(blank=True)
    attempts = models.PositiveIntegerField(default=1)
    begun_by = models.CharField(max_length=200, blank=True, default="", db_default="")
    # How many of its waits, the first ones, were cancelled: a replay waits until they are cancelled again.
    cancelled_waits = models.PositiveIntegerField(default=0, db_default=0)
    cancelled_at = models.DateTimeField(null=True, blank=True)
    # When a sleep ends, on the database's clock.
    due_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(name="step_of_run", fields=["run", "id"])]
        constraints = [
            models.UniqueConstraint(name="step_key_once_a_run", fields=["run", "key"]),
            models.UniqueConstraint(
                name="step_position_once_a_run",
                fields=["run", "position"],
                condition=Q(position__isnull=False),
            ),
            models.CheckConstraint(
                name="step_asks_while_open",
                condition=~Q(status=StepStatus.OPEN) | Q(request_id__isnull=False),
            ),
            models.CheckConstraint(
                name="step_sleeps_until_a_moment",
                condition=~Q(status=StepStatus.SLEEPING) | Q(due_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.run_id} {self.key}: {self.status}"


class Message(models.Model):
    """What an agent said in a run. `text` may grow until `complete`."""

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="messages")
    agent = models.CharField(max_length=100)
    text = models.TextField()
    complete = models.BooleanField(default=True)
    said_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(name="message_of_run", fields=["run", "id"])]

    def __str__(self) -> str:
        return f"{self.agent}: {self.text[:60]}"
