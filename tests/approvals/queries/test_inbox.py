"""The inbox: the first of all that somebody may see or decide, whatever else is on record."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import chain, product
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
from approvals.queries import Inbox, Selection, Sort, Tab, inbox, inbox_parts, people_reads, permissions
from approvals.writer import queue
from tests import factories as make
from tests.marks import both_databases
from tests.plans import plan_of

pytestmark = pytest.mark.django_db

NEVER = datetime.max.replace(tzinfo=UTC)
# Fewer than there are, and more.
LIMITS = (3, 100)


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
    monkeypatch.setattr(inbox_parts, "FEW_ASSIGNED", request.param)


@pytest.mark.usefixtures("requests", "assigned")
class TestInbox:
    def test_is_the_first_of_what_is_visible_and_pending(self, people: list[User]) -> None:
        for person, limit in product(people, LIMITS):
            visible = queries.visible_to(person.pk).filter(status="pending")
            expected = sorted(visible, key=lambda row: (row.deadline or NEVER, row.opened_at, row.pk))
            assert queries.list_inbox(person.pk, limit=limit) == expected[:limit]

    def test_of_many_people_at_once_is_that_of_each(self, people: list[User]) -> None:
        gone = make.reviewer(is_active=False)
        known = people_reads.persons([gone.pk, *(person.pk for person in people)])
        for limit in LIMITS:
            assert queries.list_inboxes(known.values(), limit) == {
                person.pk: [row.pk for row in queries.list_inbox(person.pk, limit=limit)] for person in people
            }

    def test_holds_what_is_closed_too_if_asked_for(self, people: list[User]) -> None:
        for person, limit in product(people, LIMITS):
            visible = queries.visible_to(person.pk)
            expected = sorted(visible.order_by("-id"), key=lambda row: row.closed_at or NEVER, reverse=True)
            assert queries.list_inbox(person.pk, status=None, limit=limit) == expected[:limit]

    def test_of_what_is_mine_is_what_i_may_decide(self, people: list[User]) -> None:
        for person, limit in product(people, LIMITS):
            pending = HumanRequest.objects.filter(status="pending")
            mine = [row for row in pending if queries.rights_of(person.pk, row).decide]
            expected = sorted(mine, key=lambda row: (row.deadline or NEVER, row.opened_at, row.pk))
            assert queries.list_inbox(person.pk, mine=True, limit=limit) == expected[:limit]


def allowed(person: User, tab: Tab) -> list[HumanRequest]:
    """What the tab has, by the rule alone: all requests on record, one by one."""
    known = people_reads.persons([person.pk])[person.pk]
    requests = HumanRequest.objects.all()
    audiences = people_reads.audiences(requests)
    seen = [row for row in requests if permissions.may_see(known, audiences[row.pk])]
    closed = [row for row in seen if row.status != Status.PENDING]
    pending = [row for row in seen if row.status == Status.PENDING]
    return {
        Tab.MINE: [row for row in pending if permissions.may_decide(known, audiences[row.pk])],
        Tab.ASKED: [row for row in pending if row.requester_id == person.pk],
        Tab.ALL: pending,
        Tab.DECIDED: closed,
    }[tab]


BY = {
    Sort.DEADLINE: lambda row: (row.deadline or NEVER, row.opened_at, row.pk),
    Sort.AGE: lambda row: (row.opened_at, row.pk),
    Sort.NEWEST: lambda row: (NEVER - row.opened_at, -row.pk.int),
}


def last_closed(rows: list[HumanRequest]) -> list[HumanRequest]:
    return sorted(rows, key=lambda row: (row.closed_at or NEVER, row.pk), reverse=True)


@both_databases
@pytest.mark.usefixtures("requests", "assigned")
class TestTabs:
    """Each has what the rule of permissions says, whoever looks."""

    def test_pending_ones_in_each_order(self, people: list[User]) -> None:
        for person, tab, sort in product(people, (Tab.MINE, Tab.ASKED, Tab.ALL), Sort):
            expected = sorted(allowed(person, tab), key=BY[sort])
            for limit in LIMITS:
                listed = Inbox(person.pk).read(Selection(tab=tab, sort=sort), limit)
                assert listed.rows == expected[:limit]
                assert listed.more == (len(expected) > limit)

    def test_closed_ones_page_by_page(self, people: list[User]) -> None:
        for person in people:
            found: list[Any] = []
            selection, more = Selection(tab=Tab.DECIDED), True
            while more:
                listed = Inbox(person.pk).read(selection, 3)
                found += listed.rows
                more = listed.more
                if more:
                    place = (listed.rows[-1].closed_at, listed.rows[-1].pk)
                    selection = Selection(tab=Tab.DECIDED, before=place)
            assert found == last_closed(allowed(person, Tab.DECIDED))

    def test_what_somebody_decided_or_voted_on_as_long_as_they_may_see_it(self, people: list[User]) -> None:
        sees_all, reviewer, plain, member = people
        for request in HumanRequest.objects.filter(status=Status.PENDING):
            for person in (reviewer, member):
                if queries.rights_of(person.pk, request).decide:
                    deciding.decide(make.actor(person), str(request.pk), "reject")
                    break
        both = [make.approval(assignees=[plain, member], required=2) for _ in range(2)]
        for id_ in both:
            deciding.decide(make.actor(plain), id_, "approve")
        deciding.decide(make.actor(member), both[0], "approve")
        for person in people:
            mine = [
                row
                for row in allowed(person, Tab.DECIDED)
                if row.decided_by_id == person.pk or row.responses.filter(actor=person).exists()
            ]
            listed = Inbox(person.pk).read(Selection(tab=Tab.DECIDED, by_me=True), 100)
            assert listed.rows == last_closed(mine)
        assert queries.as_id(both[0]) in {row.pk for row in Inbox(plain.pk).read(_BY_ME, 9).rows}

        deciding.reassign(
            make.actor(make.user(may=("change_humanrequest",))), both[1], [member.pk, sees_all.pk]
        )
        deciding.decide(make.actor(member), both[1], "reject")
        assert queries.as_id(both[1]) not in {row.pk for row in Inbox(plain.pk).read(_BY_ME, 9).rows}

    def test_counts_are_the_lengths_of_the_lists_up_to_a_bound(
        self, people: list[User], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each request once, however many reasons there are to see it; what one has voted on is decided."""
        for voter in people:
            for required in (2, 3):
                voted = make.approval(assignees=people, required=required)
                deciding.decide(make.actor(voter), voted, "approve")
        for person, most in product(people, (3, 1000)):
            monkeypatch.setattr(inbox, "COUNTED", most)
            counts = Inbox(person.pk).count()
            lists = {tab: allowed(person, tab) for tab in Tab}
            votes = [row for row in lists[Tab.MINE] if row.responses.filter(actor=person).exists()]
            assert len(votes) == 2
            lists[Tab.MINE] = [row for row in lists[Tab.MINE] if row not in votes]
            assert {tab: getattr(counts, tab) for tab in Tab} == {
                tab: min(len(rows), most) for tab, rows in lists.items()
            }

    def test_everything_is_more_for_those_who_see_more(self, people: list[User]) -> None:
        """Who sees all; and who was named, and may not decide it for having reassigned it."""
        sees_all, _, plain, member = people
        assert [Inbox(person.pk).count().sees_more for person in people] == [True, False, False, False]
        deciding.reassign(make.actor(plain), self.with_four_eyes(plain), [plain.pk, member.pk, sees_all.pk])
        assert Inbox(plain.pk).count().sees_more
        assert not Inbox(member.pk).count().sees_more

    def with_four_eyes(self, *assignees: User) -> str:
        return make.approval(assignees=assignees, four_eyes=True)


_BY_ME = Selection(tab=Tab.DECIDED, by_me=True)


@both_databases
def test_filters_leave_what_they_say(people: list[User]) -> None:
    plain = people[2]
    make.clarification("Why?", assignees=[plain])
    for verdict in ("approve", "reject"):
        deciding.decide(make.actor(plain), make.approval(verdict, assignees=[plain]), verdict)

    def titles(**terms: Any) -> list[str]:
        return [row.title for row in Inbox(plain.pk).read(Selection(**terms), 9).rows]

    assert titles(kind="clarification") == ["Why?"]
    assert titles(kind="approval") == []
    assert titles(tab=Tab.DECIDED, status="approved") == ["approve"]
    assert titles(tab=Tab.DECIDED, kind="approval") == ["reject", "approve"]


@both_databases
@pytest.mark.usefixtures("requests", "assigned")
def test_closed_ones_are_searched_among_the_newest(
    people: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what somebody may see; where there are more, the list says so."""
    monkeypatch.setattr(inbox, "SEARCHED", 4)
    for person in people:
        closed = last_closed(allowed(person, Tab.DECIDED))
        listed = Inbox(person.pk).read(Selection(tab=Tab.DECIDED, search="refund"), 100)
        assert set(closed[:4]) <= set(listed.rows) <= set(closed)
        assert bool(listed.searched) == (len(closed) > len(listed.rows))


@both_databases
def test_what_is_due_soon_is_what_has_less_than_a_fifth_of_its_own_time_left() -> None:
    ravi = make.user()
    for seconds in (None, 10, 60, 600, 86_400):
        make.approval(str(seconds), assignees=[ravi], timeout=seconds)
    rows = list(HumanRequest.objects.all())
    opened = min(row.opened_at for row in rows)
    for passed in (0, 7, 9, 47, 49, 479, 481, 70_000, 80_000, 90_000):
        now = opened + timedelta(seconds=passed)
        soon = HumanRequest.objects.filter(queries.is_due_soon(now))
        expected = [
            row for row in rows if row.deadline and queries.soon_from(row.opened_at, row.deadline) <= now
        ]
        assert set(soon) == set(expected)
        left = [
            row for row in rows if row.deadline and (row.deadline - now) * 5 <= row.deadline - row.opened_at
        ]
        assert expected == left


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
    gone = make.reviewer()
    make.approval(requester=gone)
    deciding.withdraw(Actor.program(), make.approval(requester=gone))
    User.objects.filter(pk=gone.pk).update(is_active=False)
    assert Inbox(gone.pk).count() == queries.Counts(mine=0, asked=0, all=0, decided=0, sees_more=False)
    for tab in Tab:
        assert Inbox(gone.pk).read(Selection(tab=tab), 9).rows == []


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


@both_databases
def test_history_makes_no_list_of_what_was_decided_dearer() -> None:
    """Rows come from an index, in the order in which they closed: nothing else is read or sorted."""
    auditor = make.user(may=("view_humanrequest",))
    known = people_reads.persons([auditor.pk])[auditor.pk]
    parts = inbox_parts.Parts(known)
    order = inbox_parts.LAST_CLOSED_FIRST
    for part in (*parts.seen(pending=False), *parts.asked(), *parts.decided()):
        listed = part.filter(closed_at__isnull=False).order_by(*order.by).values_list(*order.columns)
        plan = plan_of(listed[:51], "seqscan", "sort")
        assert re.search(r"(INDEX|using) request_(closed|asked|decided_by|closed_by_votes)\b", plan), plan
        assert "Sort" not in plan
        assert "TEMP" not in plan
