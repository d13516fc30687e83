"""The rows: processes and their leases, runs, recorded steps, messages. Fields and constraints only.

Rows are written by orchestration.runs.journal and orchestration.engines.leases; overrides of deciders in the
admin, and the row that tries whether anything can be written by config.observing.
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
    """`started`: may have had its effect, but no result is on record; `retrying`: its function raised, and is
    to be called again; `open`: a person is asked; `sleeping`: until `due_at`; `given_up`: the run did not
    wait any longer."""

    STARTED = "started"
    RETRYING = "retrying"
    OPEN = "open"
    SLEEPING = "sleeping"
    GIVEN_UP = "given_up", "Given up"
    DONE = "done"
    FAILED = "failed"


class Process(models.Model):
    """A process that executes runs, and its lease. All times are the database's."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=200)
    started_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True, blank=True)
    # It takes up what nobody executes; a terminal executes what it starts or is attached to.
    serves = models.BooleanField(default=True, db_default=True)

    class Meta:
        verbose_name_plural = "processes"
        indexes = [models.Index(name="process_lease", fields=["expires_at"])]

    def __str__(self) -> str:
        return self.name


class WriteTrial(models.Model):
    """The one row that readiness writes, to see whether anything can be recorded."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    tried_at = models.DateTimeField()
    room = models.TextField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"tried at {self.tried_at}"


class KeptQuerySet(models.QuerySet["Run"]):
    """Rows that are never deleted: what a run has asked would wait for nobody."""

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        raise TypeError(f"{self.model.__name__} rows are never deleted")

    delete = adelete = _raw_delete = _refuse


class KeptManager(models.Manager["Run"]):
    def get_queryset(self) -> KeptQuerySet:
        return KeptQuerySet(self.model, using=self._db)


class Run(models.Model):
    """One execution of an orchestration. `process` and `epoch` say who may write it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    orchestration = models.CharField(max_length=100)
    # The one it began with, whatever is newer since.
    version = models.PositiveIntegerField(default=1, db_default=1)
    title = models.CharField(max_length=200)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="runs"
    )
    input = JSONText(default=dict)
    key = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=16, choices=RunStatus.choices, default=RunStatus.QUEUED)
    # Why it ended so: rejected, timed_out, withdrawn, step_failed, interrupted, … or empty.
    reason = models.CharField(max_length=REASON_LIMIT, blank=True)
    result = JSONText(null=True, blank=True)
    error = models.TextField(blank=True)
    plan = JSONText(default=list, blank=True)
    plan_round = models.PositiveIntegerField(default=0)

    process = models.ForeignKey(
        Process, on_delete=models.SET_NULL, null=True, blank=True, related_name="runs"
    )
    epoch = models.PositiveIntegerField(default=0)
    # Its code or a step executes, or did when its process died; not while all it does is to wait.
    executing = models.BooleanField(default=False, db_default=False)
    # How often in a row its process died then, with nothing new on record between.
    deaths = models.PositiveIntegerField(default=0, db_default=0)
    resumed = models.PositiveIntegerField(default=0)
    # The last time. What was asked before that and is closed, the run asks anew.
    resumed_at = models.DateTimeField(null=True, blank=True)
    resumed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancelled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    # From where that came: channel, address, user agent, token. For the trail of what the run had asked.
    cancelled_from = JSONText(default=dict, blank=True, db_default={})
    # It ended, and what it had asked may still be open: to be withdrawn.
    leaves_requests = models.BooleanField(default=False)

    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField()
    # When retention took away what went in, what came out, and what was said.
    purged_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[models.Manager[Run]] = KeptManager()

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
            models.Index(name="run_of_owner", fields=["owner", "-created_at", "id"]),
            models.Index(name="run_created", fields=["-created_at", "id"]),
            # Not partial: the re-check looks for runs that ended as well.
            models.Index(name="run_changed", fields=["changed_at", "id"]),
        ]

    def __str__(self) -> str:
        return self.title

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("Run rows are never deleted")


class DecidersOverride(models.Model):
    """Who decides what an orchestration asks, as an administrator has set it: for requests that are opened
    from then on, instead of what the orchestration was registered with. What it does not say stays as it was.
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
        return self.reviewers or bool(self.deciders)

    @property
    def names(self) -> Any:
        """Names of users and groups, or REVIEWERS."""
        return REVIEWERS if self.reviewers else self.deciders


class StepRecord(models.Model):
    """One recorded call of a run. `position` numbers the calls without a key of their own.

    `started_at`, `begun_by` (host and process id) and `error` are of the last attempt that had such.
    """

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="steps")
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
    # So many of its waits, the first ones, were cancelled: a replay waits until they are cancelled again.
    cancelled_waits = models.PositiveIntegerField(default=0, db_default=0)
    cancelled_at = models.DateTimeField(null=True, blank=True)
    # When a sleep ends, on the database's clock.
    due_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
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
