"""What the hub of runs reads for those who watch."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models.functions import Now

from approvals.web.live.send_queue import Outbox
from orchestration.models import Run
from orchestration.web import run_reads
from tests import factories as make
from tests.connections import session_of

pytestmark = pytest.mark.django_db


async def ignore(message: object) -> None:
    """Send nothing: only the readings count here."""


def test_who_is_logged_out_during_a_reading_is_told_nothing_of_it() -> None:
    """Rights are read after all else: what is said once they are gone is not for them any more."""
    ada = make.user()
    run = Run.objects.create(owner=ada, created_at=Now(), changed_at=Now())
    seat = run_reads.RunSeat(Outbox(ignore), session_of(ada), run.pk)
    assert run_reads.runs([seat]).owners == {seat.credential: ada.pk}

    def log_out(execute: Any, statement: str, *rest: Any) -> Any:
        if "orchestration_message" in statement:
            Session.objects.all().delete()
        return execute(statement, *rest)

    with connection.execute_wrapper(log_out):
        assert run_reads.runs([seat]).owners == {}
