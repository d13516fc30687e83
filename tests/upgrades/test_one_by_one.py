"""Processes are replaced one by one on a database that is migrated already: older ones go on meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from approvals.database.fields import new_id
from approvals.models import HumanRequest, Preference
from tests import factories as make
from tests.marks import both_databases


@both_databases
@pytest.mark.django_db
def test_who_does_not_know_a_column_yet_inserts_its_default() -> None:
    make.approval()
    fields: list[Any] = list(HumanRequest._meta.concrete_fields)
    younger = {one.column for one in fields if one.has_db_default()}
    assert {"severity", "highlight", "escalation", "escalated"} <= younger
    known = ", ".join(
        f'"{one.column}"' for one in fields if one.column not in younger and not one.primary_key
    )
    key, table = HumanRequest._meta.pk, HumanRequest._meta.db_table
    with connection.cursor() as cursor:
        statement = f"INSERT INTO {table} (id, {known}) SELECT %s, {known} FROM {table}"
        cursor.execute(statement, [key.get_db_prep_value(new_id(), connection)])
    asked = HumanRequest.objects.latest("id")
    assert (asked.severity, asked.highlight, asked.counted_bytes) == ("normal", [], 0)
    assert (asked.escalation, asked.escalated, asked.remind) == ([], 0, 0.8)


@both_databases
@pytest.mark.django_db
def test_who_knows_no_quiet_hours_yet_saves_preferences() -> None:
    with connection.cursor() as cursor:
        statement = "INSERT INTO approvals_preference (user_id, opens_next) VALUES (%s, %s)"
        cursor.execute(statement, [make.user().pk, False])
    chosen = Preference.objects.get()
    assert (chosen.time_zone, chosen.quiet_days, chosen.urgent_breaks_quiet) == ("", [], True)
