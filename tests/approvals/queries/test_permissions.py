"""Who may see requests without being named."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection

from approvals.database import bulk
from approvals.queries import people_reads
from tests import factories
from tests.plans import anew

pytestmark = pytest.mark.django_db


def test_viewers_are_members_of_the_groups_and_holders_of_permissions() -> None:
    """Those who decide only where a request is assigned to nobody."""
    member, other, named, decides, sees = (
        *(factories.user() for _ in range(3)),
        factories.reviewer(),
        factories.user(may=("view_humanrequest",)),
    )
    group = factories.group("finance", member)
    factories.group("another", other)
    assigned = UUID(factories.approval(assignees=[group, named]))
    viewers = people_reads.ask_for_viewers([assigned])()
    assert viewers.user_ids == {member.pk, sees.pk}
    assert viewers.among({member.pk, other.pk}).user_ids == {member.pk}
    unassigned = UUID(factories.approval())
    assert people_reads.ask_for_viewers([assigned, unassigned])().user_ids == {member.pk, sees.pk, decides.pk}


@pytest.mark.stacks("postgresql-redis")
def test_viewers_are_found_without_reading_who_else_is_a_member_of_anything() -> None:
    people = User.objects.bulk_create([User(username=f"person-{number}") for number in range(2000)])
    everyone, members = factories.group("everyone"), User.groups.through
    members.objects.bulk_create([members(user=person, group=everyone) for person in people])
    request = UUID(factories.approval(assignees=[factories.group("finance", factories.user())]))
    anew({members._meta.db_table})
    with connection.cursor() as cursor:
        asked = [bulk.values([request])] * 2
        cursor.execute(f"EXPLAIN {people_reads._viewers_statement(connection.vendor)}", asked)
        plan = " ".join(line for (line,) in cursor.fetchall())
    assert f"Seq Scan on {members._meta.db_table}" not in plan
