"""Lookups cost what is found, however much is on record."""

from __future__ import annotations

import re

import pytest

from approvals.domain.lifecycle import Status
from approvals.models import HumanRequest
from tests.marks import both_databases
from tests.plans import plan_of

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]


@both_databases
def test_open_requests_of_an_origin_are_read_without_the_closed_ones() -> None:
    """By an index that has only what is pending, in the order in which it is listed."""
    rows = HumanRequest.objects.filter(origin_id="7", status=Status.PENDING).exclude(origin_id="")
    plan = plan_of(rows.order_by("opened_at", "id")[:50], "seqscan")
    assert re.search(r"(USING INDEX|using) request_open_of_origin", plan), plan
    assert "Sort" not in plan
    assert "TEMP" not in plan
