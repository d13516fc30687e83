"""The inbox: the first of all that somebody may see or decide, whatever else is on record."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from importlib import import_module
from itertools import chain
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import connection

from approvals import deciding, queries
from approvals.domain.commands import Actor, Expire
from approvals.domain.lifecycle import Status
from approvals.domain.questions import REVIEWERS
from approvals.models import GroupAssignment, HumanRequest, UserAssignment
from approvals.queries import inbox, permissions
from approvals.writer import queue
from tests import factories as make

pytestmark = pytest.mark.django_db

NEVER = datetime.max.replace(tzinfo=UTC)


@pytest.fixture
def people() -> list[User]:
    """Who sees all, who decides what is unassigned, a member of two groups, and who is nothing of that."""
    plain, member = make.user(), make.user()
    make.group("one", member)
    make.group("two", member)
    return [make.user(may=("view_humanrequest",)), make.reviewer(), plain, member]


@pytest.fixture
def requests(people: list[User]) -> None:
    """Of all kinds of audience, with and without deadlines, half of them closed."""
    draw = random.Random(7)
    groups = list(Group.objects.filter(name__in=("one", "two")))
    two = [people[1], people[3]]
    for number in range(40):
        assignees = draw.choice([REVIEWERS, people[2:3], groups, two])
        id_ = make.approval(
            requester=draw.choice([None, *people]),
            assignees=assignees,
            timeout=draw.choice([None, 600, 1200]),
            four_eyes=assignees is two,
        )
        if number % 2:
            deciding.withdraw(Actor.program(), id_)


@pytest.fixture(params=[1, 500], ids=["much is assigned", "little is assigned"])
def assigned(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "FEW_ASSIGNED", request.param)


@pytest.mark.usefixtures("requests", "assigned")
@pytest.mark.parametrize("limit", [3, 100])
class TestInbox:
    def test_is_the_first_of_what_is_visible_and_pending(self, people: list[User], limit: int) -> None:
        for person in people:
            visible = queries.visible_to(person.pk).filter(status="pending")
            expected = sorted(visible, key=lambda row: (row.deadline or NEVER, row.opened_at, row.pk))
            assert queries.list_inbox(person.pk, limit=limit) == expected[:limit]

    def test_of_many_people_at_once_is_that_of_each(self, people: list[User], limit: int) -> None:
        gone = make.reviewer(is_active=False)
        known = permissions.persons([gone.pk, *(person.pk for person in people)])
        assert queries.list_inboxes(known.values(), limit) == {
            person.pk: [row.pk for row in queries.list_inbox(person.pk, limit=limit)] for person in people
        }

    def test_holds_what_is_closed_too_if_asked_for(self, people: list[User], limit: int) -> None:
        for person in people:
            visible = queries.visible_to(person.pk)
            expected = sorted(visible.order_by("-id"), key=lambda row: row.closed_at or NEVER, reverse=True)
            assert queries.list_inbox(person.pk, status=None, limit=limit) == expected[:limit]

    def test_of_what_is_mine_is_what_i_may_decide(self, people: list[User], limit: int) -> None:
        for person in people:
            pending = HumanRequest.objects.filter(status="pending")
            mine = [row for row in pending if queries.rights_of(person.pk, row).decide]
            expected = sorted(mine, key=lambda row: (row.deadline or NEVER, row.opened_at, row.pk))
            assert queries.list_inbox(person.pk, mine=True, limit=limit) == expected[:limit]


@pytest.mark.usefixtures("requests", "assigned")
@pytest.mark.parametrize("most", [3, 1000])
def test_what_waits_is_counted_up_to_a_bound(
    people: list[User], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each once, however many reasons there are to see it."""
    monkeypatch.setattr(inbox, "COUNTED", most)
    for person in people:
        waiting = queries.count_waiting(person.pk)
        assert waiting.seen == min(len(queries.list_inbox(person.pk)), most)
        assert waiting.mine == min(len(queries.list_inbox(person.pk, mine=True)), most)


@pytest.mark.usefixtures("requests")
def test_rows_are_told_as_the_requests_are() -> None:
    """Whether the ORM has read them, or a statement of our own; with and without what is large."""
    for pk in list(HumanRequest.objects.filter(status=Status.PENDING, kind="approval").values_list("pk"))[:3]:
        deciding.withdraw(Actor.program(), str(*pk), "Said at some length" * 20)
    asked = {row.pk: row for row in queries.requests_by_id(HumanRequest.objects.values_list("pk", flat=True))}
    for limit, whole in ((1_000_000, True), (1, False)):
        rows: list[Any] = queries.ask_for_rows(asked)()
        queries.load_large(rows, limit)
        assert {row.pk for row in rows} == asked.keys()
        for row in rows:
            request = asked[row.pk]
            assert (row.asked_whole, row.outcome_whole) == (whole, whole)
            assert queries.summary_on_the_wire(row) == queries.summary_on_the_wire(request)
            if whole:
                assert queries.on_the_wire(row) == queries.on_the_wire(request)
                assert queries.outcome_of(row) == queries.outcome_of(request)
            else:
                assert (row.details, row.arguments, row.comment) == (None, None, None)
    assert queries.ask_for_rows([])() == []


def test_for_whom_is_not_active_nothing_waits() -> None:
    gone = make.reviewer(is_active=False)
    make.approval()
    assert queries.count_waiting(gone.pk) == inbox.Waiting(seen=0, mine=0)


def test_assignments_are_pending_as_long_as_their_request() -> None:
    """Whatever closes it, alone or among others, known to have assignees or not."""
    ravi = make.user()
    group = make.group("some", ravi)
    terms: dict[str, Any] = {"assignees": [ravi, group]}
    decided, withdrawn, pending, again = (make.approval(**terms) for _ in range(4))
    answered, due = make.clarification(**terms), make.approval(**terms, timeout=0.001)
    deciding.decide(make.actor(ravi), decided, "approve")
    deciding.answer(make.actor(ravi), answered, "42")
    deciding.withdraw(Actor.program(), withdrawn)
    queue.submit(Expire(request_id=queries.as_id(due))).result()
    deciding.reassign(make.actor(ravi), again, users=[ravi.pk])
    rows = list(chain(UserAssignment.objects.all(), GroupAssignment.objects.all()))
    assert len(rows) == 11
    assert {str(row.request_id) for row in rows if row.pending} == {pending, again}
    assert {row.request.status == Status.PENDING for row in rows if row.pending} == {True}
    assert [row.pk for row in queries.list_inbox(ravi.pk)] == [queries.as_id(id_) for id_ in (pending, again)]
    assert group.requests_assigned.count() == 5


def test_what_was_closed_before_assignments_could_end_is_ended_by_the_migration() -> None:
    ravi = make.user()
    group = make.group("some", ravi)
    closed, pending = (make.approval(assignees=[ravi, group]) for _ in range(2))
    deciding.withdraw(Actor.program(), closed)
    with connection.cursor() as cursor:
        for model in (UserAssignment, GroupAssignment):
            cursor.execute(f"UPDATE {model._meta.db_table} SET pending = true")
    migration = import_module("approvals.migrations.0004_assignments_are_pending")
    migration.end_those_of_closed_requests(apps, connection.schema_editor())
    for model in (UserAssignment, GroupAssignment):
        assert [str(row.request_id) for row in model.objects.filter(pending=True)] == [pending]
