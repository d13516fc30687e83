"""What most Django projects would write: a decision by the plain ORM, in a transaction of its own. On the
tables of the raw floor (raw.py)."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models, transaction
from django.utils import timezone

from orchestration.benchmark.raw import CONTENT, HASH, STATUS


class Request(models.Model):
    objects: ClassVar[models.Manager[Any]] = models.Manager()

    id = models.UUIDField(primary_key=True)
    status = models.CharField(max_length=16)
    decided_by = models.IntegerField(null=True)
    comment = models.TextField()
    closed_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField()

    class Meta:
        managed = False
        app_label = "benchmark"
        db_table = "benchmark_request"

    def __str__(self) -> str:
        return f"{self.pk} {self.status}"


class Entry(models.Model):
    objects: ClassVar[models.Manager[Any]] = models.Manager()

    id = models.BigAutoField(primary_key=True)
    request = models.ForeignKey(Request, on_delete=models.DO_NOTHING)
    event = models.CharField(max_length=16)
    outcome = models.CharField(max_length=16)
    actor_id = models.IntegerField(null=True)
    recorded_at = models.DateTimeField()
    canonical = models.TextField()
    hash = models.CharField(max_length=64)

    class Meta:
        managed = False
        app_label = "benchmark"
        db_table = "benchmark_entry"

    def __str__(self) -> str:
        return f"entry {self.pk}: {self.event}"


def decide(id_: str) -> None:
    """One decision, committed."""
    now = timezone.now()
    with transaction.atomic():
        changed = Request.objects.filter(pk=id_, status="pending").update(
            status=STATUS, decided_by=1, closed_at=now, changed_at=now
        )
        if changed:
            Entry.objects.create(
                request_id=id_,
                event="decided",
                outcome=STATUS,
                actor_id=1,
                recorded_at=now,
                canonical=CONTENT,
                hash=HASH,
            )
