"""Escalation: others decide what nobody has decided; each step once, and a request has one outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from itertools import permutations
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import Error, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from approvals import deciding, gate, queries
from approvals.database import clock
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.domain.commands import (
    Accepted,
    Actor,
    Command,
    Decision,
    Escalate,
    Expire,
    Forget,
    Purge,
    Reassign,
    Reschedule,
    Result,
)
from approvals.domain.escalation import check_escalation, steps_that_fit
from approvals.domain.lifecycle import Verdict
from approvals.domain.questions import REVIEWERS
from approvals.exceptions import InvalidRequest, NotPermitted, UnknownRequest
from approvals.models import AuditEntry, Destination, HumanRequest, UserAssignment
from approvals.trail.verification.checker import Checker
from approvals.waiting.deadlines import DeadlineKeeper
from approvals.waiting.outages import Outage
from approvals.writer import execution, queue
from tests import factories as make
from tests.marks import both_databases

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

HOUR = 3600.0
PROGRAM = Actor.program()


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    yield
    clock.move_back()


@pytest.fixture
def ada() -> User:
    return make.user("ada")


@pytest.fixture
def bob() -> User:
    return make.user("bob")


def step(after: float = 0.5, *users: User, **fields: Any) -> dict[str, Any]:
    return {"after": after, "users": list(users), **fields}


def pass_time(seconds: float) -> None:
    """So much time passes, on the database's clock."""
    clock.move(timedelta(seconds=seconds))


def do(*commands: Command) -> list[Result]:
    """Carry them out together."""
    return [each.result() for each in queue.submit_many(commands)]


def take_steps() -> None:
    """Take all steps that are due."""
    while due := queries.due_steps(100):
        do(*due)


def row_of(request_id: str) -> Any:
    return HumanRequest.objects.get(pk=request_id)


def events_of(request_id: str) -> list[str]:
    entries = AuditEntry.objects.filter(request_id=request_id).order_by("sequence")
    return list(entries.values_list("event", flat=True))


def deciders_of(request_id: str) -> list[str]:
    """Users, then groups, by name: a database has no order of its own."""
    (row,) = queries.requests_by_id([request_id])
    users, groups = row.assigned_users.all(), row.assigned_groups.all()
    return [*sorted(map(str, users)), *sorted(map(str, groups))]


def faults(request_id: str) -> list[str]:
    return [fault.detail for fault in Checker().check(UUID(request_id))]


def decision(request_id: str, person: User, verdict: Verdict = Verdict.APPROVE) -> Decision:
    return Decision(request_id=UUID(request_id), actor=make.actor(person), verdict=verdict)


def is_refused(person: User, request_id: str) -> bool:
    try:
        deciding.decide(make.actor(person), request_id, "approve")
    except (NotPermitted, UnknownRequest):
        return True
    return False


class TestAsking:
    @pytest.mark.parametrize(
        ("steps", "said"),
        [
            ("leads", "escalation must be a list of steps."),
            ({"after": 0.5}, "escalation must be a list of steps."),
            (
                [{"after": 0.01 * n, "users": ["bob"]} for n in range(1, 12)],
                "escalation must have at most 10",
            ),
            (["leads"], "escalation[0] must be an object"),
            ([{"users": ["bob"]}], "escalation[0].after must be a share"),
            ([{"after": 0.5}], "escalation[0] must name somebody"),
            ([{"after": 0.5, "user": ["bob"]}], "escalation[0].user is no field of a step"),
            ([{"after": 0.5, "users": "bob"}], "escalation[0].users must be a list"),
            ([{"after": 0.5, "users": ["bob"], "replace": 1}], "escalation[0].replace must be true or false"),
            (
                [{"after": 0.5, "users": ["bob", "eve"]}],
                "escalation[0].users[1]: there is no active user 'eve'",
            ),
            ([{"after": 0.5, "groups": ["leads"]}], "escalation[0].groups[0]: there is no group 'leads'"),
            ([{"after": 600, "users": ["bob"]}], "escalation[0].after must be before the deadline"),
            (
                [{"after": 0.5, "users": ["bob"]}, {"after": 300, "users": ["ada"]}],
                "escalation[1].after must be later than the step before",
            ),
        ],
    )
    def test_what_can_not_be_is_refused_by_field_and_rule(
        self, ada: User, bob: User, steps: Any, said: str
    ) -> None:
        with pytest.raises(InvalidRequest) as refused:
            make.approval(assignees=[ada], timeout=600, escalation=steps)
        assert refused.value.detail.startswith(said)
        assert refused.value.field == said.partition(" ")[0].rstrip(":")
        assert not HumanRequest.objects.exists()

    @given(after=st.one_of(st.floats(), st.integers(-5, 10**12), st.booleans(), st.text(), st.timedeltas()))
    def test_a_moment_is_a_share_or_seconds_and_nothing_else(self, after: Any) -> None:
        taken: Any = None
        with suppress(InvalidRequest):
            (taken,) = check_escalation([{"after": after, "users": ["bob"]}], {"timeout": None})
        number = after.total_seconds() if isinstance(after, timedelta) else after
        fits = type(number) in (int, float) and 1 <= number <= 3_155_760_000
        assert (taken is not None) == fits
        assert taken is None or taken["after"] == number

    @given(
        afters=st.lists(st.one_of(st.floats(0.001, 0.999), st.integers(1, 100_000)), max_size=10),
        timeout=st.one_of(st.none(), st.floats(0.01, 100_000)),
        anybody=st.booleans(),
        replace=st.booleans(),
    )
    def test_the_steps_of_a_policy_that_fit_may_always_be_asked_for(
        self, afters: list[float], timeout: float | None, anybody: bool, replace: bool
    ) -> None:
        steps = check = [
            {"after": after, "users": ["a"], "groups": [], "replace": replace} for after in afters
        ]
        fitting = steps_that_fit(steps, timeout, anybody=anybody)
        assert check_escalation(fitting, {"timeout": timeout}) == fitting
        assert not (anybody and not replace and fitting)
        try:
            asked = check_escalation(check, {"timeout": timeout})
        except InvalidRequest:
            return
        assert fitting == asked or (anybody and not replace)

    def test_shares_of_no_time_are_refused(self, ada: User, bob: User) -> None:
        with pytest.raises(InvalidRequest, match="a share of the time needs a deadline"):
            make.approval(assignees=[ada], timeout=None, escalation=[step(0.5, bob)])
        make.approval(assignees=[ada], timeout=None, escalation=[step(600, bob)])

    def test_a_step_that_leaves_too_few_is_refused(self, ada: User, bob: User) -> None:
        instead = [step(0.5, bob, replace=True)]
        with pytest.raises(InvalidRequest, match="at least 2 who may decide, not 1") as refused:
            make.approval(assignees=[ada, make.user()], required=2, escalation=instead)
        assert refused.value.field == "escalation[0]"
        with pytest.raises(InvalidRequest, match="other than the requester, not 0"):
            make.approval(assignees=[ada], requester=bob, four_eyes=True, escalation=instead)
        make.approval(assignees=[ada, make.user()], required=2, escalation=[step(0.5, bob)])

    def test_where_any_reviewer_decides_nobody_is_added(self, ada: User, bob: User) -> None:
        with pytest.raises(InvalidRequest, match="any reviewer may decide this") as refused:
            make.approval(escalation=[step(0.5, bob)])
        assert refused.value.field == "escalation[0].replace"
        make.approval(escalation=[step(0.5, bob, replace=True), step(0.6, ada)])

    def test_names_are_recorded_as_ids_and_told_as_names(self, ada: User, bob: User) -> None:
        leads = make.group("leads", make.user())
        steps = [step(0.25, bob), {"after": timedelta(seconds=200), "groups": ["leads"], "replace": True}]
        request_id = make.approval(assignees=[ada], timeout=600, escalation=steps)
        row = row_of(request_id)
        assert row.escalation == [
            {"after": 0.25, "users": [bob.pk], "groups": [], "replace": False},
            {"after": 200, "users": [], "groups": [leads.pk], "replace": True},
        ]
        assert row.escalates_at == row.opened_at + timedelta(seconds=150)
        told = queries.on_the_wire(queries.requests_by_id([request_id])[0])["escalation"]
        assert [(one["after"], one["users"], one["groups"]) for one in told] == [
            (0.25, ["bob"], []),
            (200, [], ["leads"]),
        ]

    def test_it_is_no_part_of_what_a_key_finds(self, ada: User, bob: User) -> None:
        first = make.approval(assignees=[ada], key="k", escalation=[step(0.5, bob)])
        assert make.approval(assignees=[ada], key="k") == first

    @both_databases
    def test_lists_read_the_names_of_all_steps_by_two_statements(self, ada: User, bob: User) -> None:
        make.group("leads")
        counted = []
        for number in (1, 5):
            for _ in range(number):
                make.approval(assignees=[ada], escalation=[step(0.5, bob), step(0.6, groups=["leads"])])
            with CaptureQueriesContext(connection) as captured:
                rows, _ = queries.list_requests(ada.pk, limit=50)
                assert {name for row in rows for name in queries.on_the_wire(row)["escalation"][0]["users"]}
            counted.append(len(captured))
        assert counted[1] <= counted[0] < 30


class TestEscalating:
    @both_databases
    def test_those_whom_a_step_names_decide_as_well(self, ada: User, bob: User) -> None:
        lead = make.user("lead")
        leads = make.group("leads", lead)
        steps = [step(0.5, bob, groups=[leads]), step(0.75, make.user("olga"), replace=True)]
        request_id = make.approval(assignees=[ada], timeout=HOUR, escalation=steps)
        take_steps()
        assert is_refused(bob, request_id)
        pass_time(HOUR / 2)
        take_steps()
        assert deciders_of(request_id) == ["ada", "bob", "leads"]
        assert events_of(request_id) == ["opened", "refused", "escalated"]
        entry = AuditEntry.objects.select_related("shown").get(request_id=request_id, event="escalated")
        assert (entry.actor, entry.channel, entry.allowed_by) == (None, "rule", "escalation")
        row = row_of(request_id)
        assert (row.escalated, row.escalates_at) == (1, row.opened_at + timedelta(seconds=HOUR * 0.75))
        assert faults(request_id) == []
        pass_time(HOUR / 4)
        take_steps()
        assert deciders_of(request_id) == ["olga"]
        assert is_refused(lead, request_id)
        deciding.decide(make.actor(User.objects.get(username="olga")), request_id, "approve")
        row = row_of(request_id)
        assert (row.status, row.escalated, row.escalates_at) == ("approved", 2, None)
        assert not UserAssignment.objects.filter(pending=True).exists()
        assert faults(request_id) == []

    def test_a_step_is_taken_when_it_is_due_in_its_turn_and_while_it_is_pending(
        self, ada: User, bob: User
    ) -> None:
        request_id = make.approval(
            assignees=[ada], timeout=HOUR, escalation=[step(0.5, bob), step(0.6, make.user("lead"))]
        )

        def unchanged(number: int) -> bool:
            (result,) = do(Escalate(request_id=UUID(request_id), step=number))
            return isinstance(result, Accepted) and not result.changed

        assert unchanged(0), "too early"
        pass_time(HOUR * 0.55)
        assert unchanged(1), "not its turn"
        assert not unchanged(0)
        assert unchanged(0), "done"
        pass_time(HOUR / 2)
        assert unchanged(1), "overdue"
        assert queries.due_steps(10) == []
        do(Expire(request_id=UUID(request_id)))
        assert unchanged(1), "closed"
        assert events_of(request_id) == ["opened", "escalated", "timed_out"]
        assert faults(request_id) == []

    def test_an_approval_of_somebody_who_was_replaced_does_not_count(self, ada: User, bob: User) -> None:
        others = [make.user(), make.user()]
        request_id = make.approval(
            assignees=[ada, bob], required=2, timeout=HOUR, escalation=[step(0.5, bob, *others, replace=True)]
        )
        deciding.decide(make.actor(ada), request_id, "approve")
        pass_time(HOUR / 2)
        take_steps()
        deciding.decide(make.actor(bob), request_id, "approve")
        assert row_of(request_id).status == "pending"
        deciding.decide(make.actor(others[0]), request_id, "approve")
        assert row_of(request_id).status == "approved"

    @both_databases
    def test_a_deadline_that_is_moved_moves_the_shares_of_what_was_not_done(
        self, ada: User, bob: User
    ) -> None:
        steps = [step(0.25, bob), step(0.5, make.user()), step(HOUR * 0.75, make.user())]
        request_id = make.approval(assignees=[ada], timeout=HOUR, escalation=steps)
        pass_time(HOUR / 4)
        take_steps()
        do(Reschedule(request_id=UUID(request_id), actor=PROGRAM, timeout=2 * HOUR))
        row = row_of(request_id)
        assert row.escalates_at == row.opened_at + (row.deadline - row.opened_at) / 2
        assert row.escalated == 1
        assert faults(request_id) == []

    def test_who_is_gone_is_left_out_and_if_nobody_is_left_those_stay_who_decide(
        self, ada: User, bob: User
    ) -> None:
        leads, gone = make.group("leads", bob), make.user("gone")
        steps = [step(0.2, bob, gone, groups=[leads]), step(0.4, gone, replace=True)]
        request_id = make.approval(assignees=[ada], timeout=HOUR, escalation=steps)
        Group.objects.all().delete()
        gone.delete()
        pass_time(HOUR * 0.3)
        take_steps()
        assert deciders_of(request_id) == ["ada", "bob"]
        pass_time(HOUR * 0.2)
        take_steps()
        assert (deciders_of(request_id), row_of(request_id).escalated) == (["ada", "bob"], 2)
        assert queries.next_steps(row_of(request_id)) == []
        assert faults(request_id) == []

    def test_who_decides_as_any_reviewer_by_then_still_does(self, ada: User, bob: User) -> None:
        rita = make.reviewer("rita")
        request_id = make.approval(assignees=[ada], timeout=HOUR, escalation=[step(0.5, bob)])
        deciding.reassign(PROGRAM, request_id, REVIEWERS)
        pass_time(HOUR / 2)
        take_steps()
        assert deciders_of(request_id) == []
        deciding.decide(make.actor(rita), request_id, "approve")

    def test_where_too_few_are_left_the_trail_says_so(self, ada: User, bob: User) -> None:
        other = make.user()
        instead = [step(0.5, bob, other, replace=True)]
        request_id = make.approval(assignees=[ada, make.user()], required=2, timeout=HOUR, escalation=instead)
        User.objects.filter(pk=other.pk).update(is_active=False)
        pass_time(HOUR / 2)
        take_steps()
        assert events_of(request_id) == ["opened", "escalated", "stuck"]

    def test_four_eyes_keep_nobody_out_because_of_a_step(self, ada: User, bob: User) -> None:
        steps = [step(0.5, make.user("lead"))]
        request_id = make.approval(
            assignees=[ada, bob], requester=ada, four_eyes=True, timeout=HOUR, escalation=steps
        )
        pass_time(HOUR / 2)
        take_steps()
        assert is_refused(ada, request_id)
        deciding.decide(make.actor(User.objects.get(username="lead")), request_id, "approve")

    @both_databases
    def test_many_that_are_due_take_the_same_statements(self, ada: User, bob: User) -> None:
        counted = []
        for number in (2, 20):
            for _ in range(number):
                make.approval(assignees=[ada], timeout=HOUR, escalation=[step(0.5, bob)])
            pass_time(HOUR * 0.6)
            due = queries.due_steps(100)
            assert len(due) == number
            with CaptureQueriesContext(connection) as captured:
                execution.execute(due)
            counted.append(len(captured))
        assert counted[1] <= counted[0] < 30


class TestKeeping:
    @both_databases
    async def test_whoever_keeps_the_deadlines_takes_the_steps_also_where_nobody_is_told(
        self, stack: object
    ) -> None:
        ada, bob = await in_database(make.user, "ada"), await in_database(make.user, "bob")

        async def passed(moment: object) -> None:
            pass

        keeper = DeadlineKeeper(Outage("database", Error), asyncio.get_running_loop(), passed)
        steps = [step(6, bob), step(0.5, await in_database(make.user, "olga"))]
        request_id = await in_database(lambda: make.approval(assignees=[ada], timeout=100, escalation=steps))
        assert 0 < await keeper.record_due() <= 6
        pass_time(70)
        await keeper.record_due()
        assert (await in_database(row_of, request_id)).escalated == 2
        assert await in_database(events_of, request_id) == ["opened", "escalated", "escalated"]
        pass_time(70)
        await keeper.record_due()
        assert (await gate.aoutcome(request_id)).timed_out


class TestTogether:
    """A decision and a step, in any order, apart or in one batch."""

    @both_databases
    @pytest.mark.parametrize("replace", [False, True], ids=["added", "instead"])
    def test_in_every_order_there_is_one_outcome(self, ada: User, bob: User, replace: bool) -> None:
        lead = make.user("lead")
        for order in permutations(range(4)):
            for together in (False, True):
                request_id = make.approval(
                    assignees=[ada], timeout=HOUR, escalation=[step(0.5, lead, replace=replace)]
                )
                pass_time(HOUR / 2)
                deeds: list[Command] = [
                    decision(request_id, ada),
                    decision(request_id, lead, Verdict.REJECT),
                    Escalate(request_id=UUID(request_id), step=0),
                    Escalate(request_id=UUID(request_id), step=0),
                ]
                commands = [deeds[at] for at in order]
                batches = [commands] if together else [[one] for one in commands]
                for batch in batches:
                    do(*batch)
                self.check(request_id, order, replace=replace)

    def check(self, request_id: str, order: tuple[int, ...], *, replace: bool) -> None:
        """Who decided is the first who might, by who was named at that moment."""
        may, winner = {0}, None
        for deed in order:
            if deed >= 2 and winner is None:
                may = {1} if replace else {0, 1}
            elif deed in may and winner is None:
                winner = deed
        row, events = row_of(request_id), events_of(request_id)
        assert row.status == {0: "approved", 1: "rejected", None: "pending"}[winner]
        assert AuditEntry.objects.filter(request_id=request_id).exclude(outcome="").count() == (
            winner is not None
        )
        assert events.count("escalated") == row.escalated <= 1
        assert faults(request_id) == []

    @settings(max_examples=40, deadline=None)
    @given(data=st.data())
    def test_whatever_happens_in_between(self, data: st.DataObject) -> None:
        """Steps, votes, a reassignment, a moved deadline, a timeout: one outcome, and a trail that holds."""
        people = [make.user() for _ in range(4)]
        named = [[people[0]], [people[1]], [people[2], people[3]]]
        replaces = data.draw(st.tuples(st.booleans(), st.booleans()), label="replaces")
        steps = [
            step(0.25, *named[1], replace=replaces[0]),
            step(0.5, *named[2], replace=replaces[1]),
        ]
        asked = make.approval(assignees=named[0], timeout=HOUR, escalation=steps, required=1)
        request_id = UUID(asked)
        deeds: dict[str, Callable[[], Command]] = {
            "first": lambda: Escalate(request_id=request_id, step=0),
            "second": lambda: Escalate(request_id=request_id, step=1),
            "expire": lambda: Expire(request_id=request_id),
            "move": lambda: Reschedule(request_id=request_id, actor=PROGRAM, timeout=HOUR),
            "hand on": lambda: Reassign(request_id=request_id, actor=PROGRAM, user_ids=(people[3].pk,)),
            **{
                f"person {at}": lambda one=one: decision(asked, one)  # type: ignore[misc]
                for at, one in enumerate(people)
            },
        }
        clock.move_back()
        for _ in range(data.draw(st.integers(1, 4), label="moments")):
            pass_time(HOUR * data.draw(st.sampled_from([0.0, 0.26, 0.5]), label="pass"))
            wanted = data.draw(st.lists(st.sampled_from(sorted(deeds)), max_size=5), label="together")
            do(*(deeds[one]() for one in wanted))
            row, events = row_of(asked), events_of(asked)
            assert row.escalated == events.count("escalated") <= 2
            closing = AuditEntry.objects.filter(request_id=request_id).exclude(outcome="")
            assert closing.count() == (row.status != "pending")
            assert faults(asked) == []
        clock.move_back()


class TestOnRecord:
    def test_the_page_and_the_trail_say_who_is_next_and_who_was_added(self, ada: User, bob: User) -> None:
        leads = make.group("leads", make.user())
        steps = [step(0.5, bob, groups=[leads]), step(0.75, ada, replace=True)]
        request_id = make.approval(assignees=[ada], timeout=HOUR, escalation=steps)
        client = Client()
        client.force_login(ada)
        page = client.get(f"/requests/{request_id}/").content.decode()
        assert "also bob, the group leads" in page
        assert "only ada" in page
        pass_time(HOUR * 0.6)
        take_steps()
        page = client.get(f"/requests/{request_id}/").content.decode()
        assert "also bob" not in page
        assert "Escalated to bob and the group leads" in page
        pass_time(HOUR * 0.2)
        take_steps()
        page = client.get(f"/requests/{request_id}/").content.decode()
        assert "Escalated: only ada may decide now" in page

    def test_the_admin_says_so_too(self, ada: User, bob: User) -> None:
        request_id = make.approval(assignees=[ada], timeout=HOUR, escalation=[step(0.5, bob)])
        client = Client()
        client.force_login(make.user("root", is_superuser=True, is_staff=True))
        path = f"/admin/approvals/approval/{request_id}/change/"
        assert "also bob" in client.get(path).content.decode()
        pass_time(HOUR * 0.6)
        take_steps()
        assert "Escalated to bob" in client.get(path).content.decode()

    @pytest.mark.usefixtures("as_keeper")
    def test_forgetting_whom_a_step_names_or_who_asked_leaves_what_was_asked(
        self, ada: User, bob: User
    ) -> None:
        keeper = make.actor(make.user("keeper", may=("change_humanrequest",)))
        request_id = make.approval(
            assignees=[ada],
            requester=ada,
            actor=make.actor(ada),
            timeout=HOUR,
            escalation=[step(0.5, bob), step(0.9, ada)],
        )
        pass_time(HOUR * 0.6)
        take_steps()
        deciding.decide(make.actor(bob), request_id, "reject")
        for person in (bob, ada):
            do(Forget(request_id=UUID(request_id), actor=keeper, user_id=person.pk))
            assert faults(request_id) == []
        row = row_of(request_id)
        assert [one["users"] for one in row.escalation] == [[bob.pk], [ada.pk]]
        HumanRequest.writing.filter(pk=request_id).update(escalation=[])
        assert faults(request_id) != []

    def test_whoever_heard_of_what_was_handed_to_them_hears_of_escalations(
        self, ada: User, bob: User
    ) -> None:
        """Before people could choose that, too."""
        kept = Destination.objects.create(user=ada, events=["reassigned", "closed"])
        none = Destination.objects.create(user=bob, events=[])
        migration = import_module("approvals.migrations.0022_escalation")
        for _ in range(2):
            migration.hear_of_escalations(apps, SimpleNamespace(connection=connection))
        kept.refresh_from_db()
        none.refresh_from_db()
        assert (kept.events, none.events) == (["reassigned", "closed", "escalated"], [])

    @pytest.mark.usefixtures("as_keeper")
    def test_retention_leaves_no_steps_and_a_trail_that_holds(self, ada: User, bob: User) -> None:
        keeper = make.actor(make.user("keeper", may=("change_humanrequest",)))
        request_id = make.approval(assignees=[ada], timeout=HOUR, escalation=[step(0.5, bob)])
        pass_time(HOUR * 0.6)
        take_steps()
        deciding.decide(make.actor(bob), request_id, "approve")
        later = database_now() + timedelta(seconds=1)
        do(Purge(request_id=UUID(request_id), actor=keeper, before=later))
        row = row_of(request_id)
        assert (row.escalation, row.escalated, row.escalates_at) == ([], 1, None)
        assert faults(request_id) == []
        history = queries.history(row)
        assert [one.event for one in history] == ["opened", "escalated", "decided", "purged"]
