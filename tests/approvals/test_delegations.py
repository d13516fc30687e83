"""Somebody decides for somebody who is away: on the trail, with one vote for each, and no further."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import permutations, product
from time import monotonic, sleep
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_django import Settings

from approvals import deciding, delegations, queries
from approvals.database import clock
from approvals.database.clock import database_now
from approvals.domain.commands import Decision
from approvals.domain.lifecycle import Kind, Verdict
from approvals.exceptions import (
    AlreadyDecided,
    InvalidRequest,
    NotPermitted,
    UnknownDelegation,
    UnknownRequest,
)
from approvals.management import accounts
from approvals.models import AuditEntry, Delegation, HumanRequest, Notification, Response
from approvals.queries import people_reads, permissions
from approvals.queries.delegations import delegations_changed_since, next_change
from approvals.queries.inbox import Inbox, Selection, Tab
from approvals.queries.notices import notices
from approvals.queries.requests import decidable_by
from approvals.trail import retention, verification
from approvals.trail.verification.checker import Checker
from approvals.writer import execution, queue
from tests import factories as make
from tests.marks import both_databases
from tests.patience import patience
from tests.told import look

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

HOUR = timedelta(hours=1)


@pytest.fixture
def ada() -> User:
    return make.user("ada", email="ada@example.org")


@pytest.fixture
def bob() -> User:
    return make.user("bob", email="bob@example.org")


@pytest.fixture
def moved() -> Iterator[None]:
    yield
    clock.move_back()


def decide(person: User, request_id: str, decision: str = "approve") -> Any:
    return deciding.decide(make.actor(person), request_id, decision)


def is_refused(person: User, request_id: str) -> bool:
    """Whether the person may not even see the request."""
    try:
        decide(person, request_id)
    except UnknownRequest:
        return True
    return False


class TestMaking:
    def test_one_for_oneself_is_on_record(self, ada: User, bob: User) -> None:
        until = database_now() + HOUR
        made = delegations.delegate(ada, "bob", None, until, "On leave", by=ada)
        row = Delegation.objects.get(pk=made)
        assert (row.principal, row.delegate, row.made_by, row.reason) == (ada, bob, ada, "On leave")
        assert row.starts_at <= row.made_at < row.ends_at
        assert row.ends_at == until
        with pytest.raises(TypeError):
            row.delete()

    def test_only_administrators_delegate_for_others(self, ada: User, bob: User) -> None:
        """Whether there is such a person is not told to who may not."""
        for principal in (ada, "nobody"):
            with pytest.raises(NotPermitted, match="principal must be you"):
                delegations.delegate(principal, bob, None, database_now() + HOUR, by=bob)
        bob.groups.add(Group.objects.get(name="administrator"))
        delegations.delegate(ada, bob, None, database_now() + HOUR, by=User.objects.get(pk=bob.pk))
        assert Delegation.objects.get().made_by == bob

    @pytest.mark.parametrize(
        ("wrong", "field", "rule"),
        [
            ({"delegate": "ada"}, "delegate", "must be somebody else"),
            ({"delegate": "carl"}, "delegate", "there is no active user 'carl'"),
            ({"principal": "carl"}, "principal", "there is no active user 'carl'"),
            ({"ends_at": -HOUR}, "ends_at", "must be later than the start"),
            ({"starts_at": -2 * HOUR, "ends_at": -HOUR}, "ends_at", "must be in the future"),
            ({"starts_at": datetime(2026, 1, 1)}, "starts_at", "must say its time zone"),  # noqa: DTZ001
            ({"ends_at": "tomorrow"}, "ends_at", "must be a moment"),
            ({"reason": "x" * 501}, "reason", "must have at most 500 characters"),
        ],
    )
    @pytest.mark.usefixtures("ada", "bob")
    def test_what_will_not_do_names_the_field_and_the_rule(
        self, wrong: dict[str, Any], field: str, rule: str
    ) -> None:
        now = database_now()
        said: dict[str, Any] = {"principal": "ada", "delegate": "bob", "starts_at": None, "ends_at": HOUR}
        said |= wrong
        moments = {name: now + value for name, value in said.items() if isinstance(value, timedelta)}
        with pytest.raises(InvalidRequest, match=rule) as refused:
            delegations.delegate(**said | moments)
        assert refused.value.field == field
        assert str(refused.value).startswith(field)
        assert not Delegation.objects.exists()

    def test_there_is_a_bound_for_one_person(self, ada: User, bob: User) -> None:
        until = database_now() + HOUR
        for number in range(delegations.AT_ONCE):
            make.delegation(ada, bob, ends_at=until + number * HOUR)
        with pytest.raises(InvalidRequest, match="principal has 20"):
            make.delegation(ada, make.user())
        with pytest.raises(InvalidRequest, match="delegate stands for others 20 times"):
            make.delegation(make.user(), bob)

    def test_saying_the_same_again_makes_no_other(self, ada: User, bob: User) -> None:
        now = database_now()
        for starts_at in (None, now + HOUR):
            said = (ada, bob, starts_at, now + 2 * HOUR)
            first = delegations.delegate(*said)
            assert delegations.delegate(*said) == first
            delegations.end(first)
            assert delegations.delegate(*said) != first

    def test_either_of_them_ends_it_once(self, ada: User, bob: User) -> None:
        for person in (ada, bob):
            made = make.delegation(ada, bob)
            with pytest.raises(UnknownDelegation):
                delegations.end(made, by=make.user())
            assert delegations.end(made, by=person)
            assert not delegations.end(made, by=ada)
            row = Delegation.objects.get(pk=made)
            assert row.ended_by == person
            assert row.ended_at is not None
        with pytest.raises(UnknownDelegation):
            delegations.end("no id", by=ada)

    @both_databases
    def test_the_database_refuses_what_makes_no_sense(self, ada: User, bob: User) -> None:
        made = make.delegation(ada, bob)
        row = Delegation.objects.get(pk=made)
        for wrong in ({"delegate": ada}, {"ends_at": row.starts_at}, {"ended_by": ada}):
            with pytest.raises(IntegrityError), transaction.atomic():
                Delegation.writing.filter(pk=made).update(**wrong)

    def test_it_goes_with_a_person_who_is_forgotten(self, ada: User, bob: User) -> None:
        made = delegations.delegate(ada, bob, None, database_now() + HOUR, "In hospital")
        accounts.end_access(bob.pk, ada.pk)
        row = Delegation.objects.get(pk=made)
        assert row.ended_by == ada
        assert row.reason == ""


class TestDeciding:
    @both_databases
    def test_the_trail_says_on_whose_behalf(self, ada: User, bob: User) -> None:
        request_id = make.approval(assignees=[ada])
        assert is_refused(bob, request_id)
        make.delegation(ada, bob)
        outcome = decide(bob, request_id)
        assert (outcome.approved, outcome.decided_by) == (True, "bob")
        entry = AuditEntry.objects.get(request_id=request_id, event="decided")
        assert (entry.actor, entry.on_behalf_of) == (bob, ada)
        assert entry.allowed_by == f"assigned, on behalf of {ada.pk}"
        vote = Response.objects.get(request_id=request_id)
        assert (vote.actor, vote.on_behalf_of) == (bob, ada)
        assert verification.verify().holds

    def test_an_answer_is_given_on_behalf_too(self, ada: User, bob: User) -> None:
        request_id = make.clarification(assignees=[ada])
        make.delegation(ada, bob)
        assert deciding.answer(make.actor(bob), request_id, "4711").answer == "4711"
        assert AuditEntry.objects.get(request_id=request_id, event="answered").on_behalf_of == ada
        assert verification.verify().holds

    def test_rights_of_ones_own_come_first_then_principals_in_the_order_of_ids(
        self, ada: User, bob: User
    ) -> None:
        carl = make.user("carl")
        for one in (carl, ada):
            make.delegation(one, bob)
        cases: list[tuple[list[User], User | None]]
        cases = [([ada, bob], None), ([carl, ada], ada), ([carl], carl)]
        for assignees, expected in cases:
            request_id = make.approval(assignees=assignees)
            decide(bob, request_id)
            assert Response.objects.get(request_id=request_id).on_behalf_of == expected

    def test_a_reviewers_delegate_decides_what_names_nobody(self, bob: User) -> None:
        make.delegation(make.reviewer(), bob)
        assert decide(bob, make.approval()).approved

    def test_it_reaches_no_further_than_one(self, ada: User, bob: User) -> None:
        carl = make.user("carl")
        make.delegation(ada, bob)
        make.delegation(bob, carl)
        request_id = make.approval(assignees=[ada])
        assert is_refused(carl, request_id)
        assert decide(bob, request_id).approved

    @pytest.mark.parametrize("who", ["ada", "bob"])
    def test_it_dies_with_either_account(self, ada: User, bob: User, who: str) -> None:
        request_id = make.approval(assignees=[ada, make.user()])
        make.delegation(ada, bob)
        User.objects.filter(username=who).update(is_active=False)
        assert is_refused(bob, request_id)

    @pytest.mark.parametrize("who", ["ada", "bob"])
    def test_it_does_not_come_back_with_an_account(self, ada: User, bob: User, who: str) -> None:
        request_id = make.approval(assignees=[ada])
        others = make.delegation(bob, make.user())
        made = make.delegation(ada, bob)
        account = User.objects.get(username=who)
        for account.is_active in (False, True):
            account.save()
        assert is_refused(bob, request_id)
        assert Delegation.objects.get(pk=made).ended_at is not None
        assert (Delegation.objects.get(pk=others).ended_at is None) == (who == "ada")

    @pytest.mark.parametrize("who", ["ada", "bob"])
    def test_four_eyes_keep_out_both(self, ada: User, bob: User, who: str) -> None:
        """Neither may have asked it, nor have handed it on."""
        others, requester = [ada, make.user()], User.objects.get(username=who)
        make.delegation(ada, bob)
        asked = make.approval(assignees=others, four_eyes=True, requester=requester)
        if who == "ada":
            assert is_refused(bob, asked)
        else:
            with pytest.raises(NotPermitted):
                decide(bob, asked)
        requester.user_permissions.set(Permission.objects.filter(codename="change_humanrequest"))
        handed_on = make.approval(assignees=others, four_eyes=True)
        deciding.reassign(make.actor(requester), handed_on, users=[one.pk for one in [*others, make.user()]])
        with pytest.raises(NotPermitted):
            decide(bob, handed_on)

    @pytest.mark.usefixtures("moved")
    def test_it_holds_from_its_start_to_its_end(self, ada: User, bob: User) -> None:
        now = database_now()
        make.delegation(ada, bob, starts_at=now + HOUR, ends_at=now + 2 * HOUR)
        first, second = (make.approval(assignees=[ada], timeout=None) for _ in range(2))
        assert is_refused(bob, first)
        clock.move(HOUR + timedelta(minutes=1))
        assert decide(bob, first).approved
        clock.move(HOUR)
        assert is_refused(bob, second)

    @pytest.mark.stacks("postgresql-redis")
    @pytest.mark.parametrize("how", ["ended", "over"])
    def test_one_that_ends_while_the_decider_waits_for_the_lock_does_not_count(
        self, ada: User, bob: User, how: str
    ) -> None:
        """It is judged at the moment at which the lock was got."""
        request_id = make.approval(assignees=[ada])
        made = make.delegation(ada, bob)
        with ThreadPoolExecutor(1) as thread, transaction.atomic():
            HumanRequest.writing.select_for_update().get(pk=request_id)
            waiting = thread.submit(decide, bob, request_id)
            until_somebody_waits()
            if how == "ended":
                Delegation.writing.filter(pk=made).update(ended_at=database_now())
            else:
                over = database_now()
                Delegation.writing.filter(pk=made).update(starts_at=over - HOUR, ends_at=over)
        with pytest.raises(UnknownRequest):
            waiting.result()
        assert HumanRequest.objects.get(pk=request_id).status == "pending"

    @pytest.mark.stacks("postgresql-redis")
    def test_a_decision_on_behalf_takes_one_message_more(self, ada: User, bob: User) -> None:
        make.delegation(ada, bob)
        requests = [UUID(make.approval(assignees=assignees)) for assignees in ([ada], [ada], [bob], [ada])]
        decided = [
            Decision(request_id=one, actor=make.actor(person), verdict=Verdict.APPROVE)
            for one, person in zip(requests, (bob, ada, bob, bob), strict=True)
        ]
        execution.execute(decided[:1])
        messages = []
        for one in decided[1:]:
            with CaptureQueriesContext(connection) as captured:
                execution.execute([one])
            messages.append(len(captured))
        # Ada stands for nobody; Bob, whose own right is enough, is read with those for whom he stands.
        assert messages == [2, 3, 3]


class TestVotes:
    def test_who_stands_for_another_has_one_vote_all_the_same(self, ada: User, bob: User) -> None:
        request_id = make.approval(assignees=[ada, bob], required=2)
        make.delegation(ada, bob)
        assert decide(bob, request_id).status == "pending"
        with pytest.raises(AlreadyDecided, match="already voted"):
            decide(bob, request_id, "reject")
        assert decide(bob, request_id).status == "pending"
        assert decide(ada, request_id).approved

    def test_a_principal_has_one_vote_whoever_gives_it(self, ada: User, bob: User) -> None:
        carl = make.user("carl")
        request_id = make.approval(assignees=[ada, make.user()], required=2)
        for one in (bob, carl):
            make.delegation(ada, one)
        decide(bob, request_id)
        for person in (ada, carl):
            with pytest.raises(AlreadyDecided, match="on behalf of the same person"):
                decide(person, request_id)
        assert HumanRequest.objects.get(pk=request_id).approvals == 1

    def test_a_vote_counts_as_long_as_its_principal_may_decide(self, ada: User, bob: User) -> None:
        """The delegation was valid when it was given; that it is over by now does not matter."""
        carl, dora = make.user("carl"), make.user("dora")
        for kept in (True, False):
            request_id = make.approval(assignees=[ada, carl, dora], required=2)
            made = make.delegation(ada, bob)
            decide(bob, request_id)
            delegations.end(made)
            if not kept:
                User.objects.filter(pk=ada.pk).update(is_active=False)
            request = HumanRequest.objects.get(pk=request_id)
            assert queries.standing(request).counted == kept
            assert queries.ballot(request).void == (frozenset() if kept else {"bob"})
            assert decide(carl, request_id).status == ("approved" if kept else "pending")
        assert verification.verify().holds

    def test_a_person_whose_vote_was_given_is_not_forgotten_before_it_is_decided(
        self, ada: User, bob: User
    ) -> None:
        finance = make.group("finance", ada, make.user())
        request_id = UUID(make.approval(assignees=[finance], required=2))
        assert retention.pending_of(ada.pk) == []
        make.delegation(ada, bob)
        decide(bob, str(request_id))
        assert retention.pending_of(ada.pk) == [request_id]

    @both_databases
    def test_the_database_refuses_a_second_vote_of_a_principal(self, ada: User, bob: User) -> None:
        request_id = make.approval(assignees=[ada, bob, make.user()], required=3)
        decide(ada, request_id)
        decide(bob, request_id)
        second = Response(
            request_id=request_id,
            actor=make.user(),
            on_behalf_of=ada,
            verdict="approve",
            channel="page",
            given_at=database_now(),
        )
        with pytest.raises(IntegrityError), transaction.atomic():
            Response.writing.bulk_create([second])

    @settings(max_examples=60, deadline=None)
    @given(data=st.data())
    def test_no_order_gives_anybody_a_second_vote(self, data: st.DataObject) -> None:
        """Whoever stands for whom, whoever asks, together or one by one, and whoever repeats themselves."""
        people = [make.user() for _ in range(4)]
        named = people[:3]
        pairs = data.draw(
            st.sets(st.sampled_from(list(permutations(range(4), 2))), max_size=5), label="stands"
        )
        for principal, delegate in pairs:
            make.delegation(people[principal], people[delegate])
        four_eyes = data.draw(st.booleans(), label="four eyes")
        asker = people[data.draw(st.integers(0, 3), label="asker")]
        request_id = UUID(
            make.earlier(
                required=2,
                four_eyes=four_eyes,
                requester_id=asker.pk,
                user_ids=tuple(one.pk for one in named),
            )
        )
        order = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=8), label="order")
        decisions = [
            Decision(request_id=request_id, actor=make.actor(people[one]), verdict=Verdict.APPROVE)
            for one in order
        ]
        if data.draw(st.booleans(), label="together"):
            for each in queue.submit_many(decisions):
                each.result()
        else:
            for one in decisions:
                queue.submit(one).result()
        votes = list(Response.objects.filter(request_id=request_id))
        actors, principals = [vote.actor_id for vote in votes], [vote.principal_id for vote in votes]
        assert len(set(actors)) == len(set(principals)) == len(votes) <= 2
        barred = {asker.pk} if four_eyes else set()
        assert not barred & {*actors, *principals}
        assert set(principals) <= {one.pk for one in named}
        standing = {(people[principal].pk, people[delegate].pk) for principal, delegate in pairs}
        for vote in votes:
            assert vote.on_behalf_of_id is None or (vote.on_behalf_of_id, vote.actor_id) in standing
        assert (HumanRequest.objects.get(pk=request_id).status == "approved") == (len(votes) == 2)
        assert list(Checker().check(request_id)) == []


class TestSeeing:
    def test_lists_and_rights_say_the_same_as_the_rule(self) -> None:
        """For each combination of who asks, who is named, four eyes, and who has handed it on."""
        ada, bob, carl = make.reviewer("ada"), make.user("bob"), make.user("carl")
        finance = make.group("finance", ada)
        ada.user_permissions.add(Permission.objects.get(codename="change_humanrequest"))
        named: list[dict[str, Any]] = [
            {},
            {"user_ids": (ada.pk,)},
            {"user_ids": (carl.pk,)},
            {"group_ids": (finance.pk,)},
            {"user_ids": (bob.pk, ada.pk)},
        ]
        for terms, asker, four_eyes in product(named, (ada, bob, carl, None), (False, True)):
            requester = None if asker is None else asker.pk
            make.earlier(four_eyes=four_eyes, requester_id=requester, **terms)
        handed_on = make.earlier(four_eyes=True, user_ids=(ada.pk, carl.pk))
        deciding.reassign(make.actor(ada), handed_on, users=[ada.pk, bob.pk, carl.pk])
        make.earlier(Kind.CLARIFICATION, user_ids=(ada.pk,))
        for principals in ((), (ada,), (ada, carl)):
            for principal in principals:
                make.delegation(principal, bob)
            self.check(bob)
            if principals:
                assert queries.list_inbox(bob.pk, mine=True, limit=100)

    def check(self, person: User) -> None:
        requests = list(HumanRequest.objects.all())
        known, audiences = people_reads.persons([person.pk])[person.pk], people_reads.audiences(requests)
        able = {pk for pk, audience in audiences.items() if permissions.may_decide(known, audience)}
        seen = {pk for pk, audience in audiences.items() if permissions.may_see(known, audience)}
        assert able <= seen
        assert queries.visible_ids([person.pk], requests)[person.pk] == seen
        assert set(queries.visible_to(person.pk).values_list("pk", flat=True)) == seen
        assert set(HumanRequest.objects.filter(decidable_by(known)).values_list("pk", flat=True)) == able
        assert {row.pk for row in queries.list_requests(person.pk, limit=200)[0]} == seen
        assert {row.pk for row in queries.list_requests(person.pk, mine=True, limit=200)[0]} == able
        pending: dict[str, Any] = {"status": "pending", "limit": 200}
        assert {row.pk for row in queries.list_inbox(person.pk, **pending)} == seen
        assert {row.pk for row in queries.list_inbox(person.pk, mine=True, **pending)} == able
        assert set(queries.list_inboxes([known], 200)[person.pk]) == seen
        inbox = Inbox(person.pk)
        assert {row.pk for row in inbox.read(Selection(tab=Tab.MINE), 200).rows} == able
        assert {row.pk for row in inbox.read(Selection(tab=Tab.ALL), 200).rows} == seen
        assert inbox.count().mine == len(able)
        assert queries.to_be_decided_by(person.pk, list(audiences)) == able

    def test_not_what_the_principal_asked(self, ada: User, bob: User) -> None:
        make.delegation(ada, bob)
        asked = make.approval(requester=ada, assignees=[make.user()])
        assert not queries.visible_to(bob.pk).exists()
        assert is_refused(bob, asked)

    def test_what_was_voted_on_is_not_to_be_decided_again(self, ada: User, bob: User) -> None:
        carl = make.user("carl")
        make.delegation(ada, bob)
        first, second = (UUID(make.approval(assignees=[ada, carl], required=2)) for _ in range(2))
        decide(ada, str(first))
        decide(bob, str(second))
        for person in (ada, bob):
            inbox, rows = Inbox(person.pk), list(HumanRequest.objects.all())
            assert inbox.count().mine == 0
            assert inbox.voted_on(rows) == {first, second}
            assert queries.to_be_decided_by(person.pk, [first, second]) == set()
        assert Inbox(carl.pk).count().mine == 2

    def test_the_number_of_queries_does_not_grow_with_those_for_whom_somebody_stands(self, bob: User) -> None:
        costs: list[int] = []

        def cost() -> int:
            with CaptureQueriesContext(connection) as captured:
                inbox = Inbox(bob.pk)
                inbox.read(Selection(tab=Tab.MINE), 20)
                inbox.count()
                queries.list_inbox(bob.pk, mine=True, limit=20)
                queries.list_requests(bob.pk, limit=20)
            return len(captured)

        for number in (1, 5):
            for _ in range(number):
                principal = make.reviewer()
                make.delegation(principal, bob)
                make.approval(assignees=[principal])
            costs.append(cost())
        assert costs[0] == costs[1]


class TestTelling:
    @pytest.fixture(autouse=True)
    def telling(self, settings: Settings) -> None:
        settings.SAYSO_NOTIFY, settings.SAYSO_URL = "on", "https://sayso.example.com"

    def told(self) -> list[tuple[str, str]]:
        rows = Notification.objects.values_list("destination__user__username", "event")
        return sorted(rows)

    def test_both_are_told_and_with_four_eyes_nobody_who_may_not(self, ada: User, bob: User) -> None:
        carl = make.user("carl")
        make.delegation(ada, bob)
        make.approval(assignees=[ada, carl])
        make.approval(assignees=[ada, carl], requester=bob, four_eyes=True)
        look()
        assert self.told() == [("ada", "opened")] * 2 + [("bob", "opened")] + [("carl", "opened")] * 2

    @pytest.mark.usefixtures("moved")
    def test_a_reminder_goes_to_nobody_whose_principal_has_voted(self, ada: User, bob: User) -> None:
        carl = make.user("carl")
        request_id = make.approval(assignees=[ada, carl], required=2, timeout=1000)
        look()
        make.delegation(ada, bob)
        decide(ada, request_id)
        clock.move(timedelta(seconds=900))
        look()
        assert [who for who, event in self.told() if event == "reminder"] == ["carl"]

    def test_a_message_has_no_point_once_the_delegation_is_over(self, ada: User, bob: User) -> None:
        made = make.delegation(ada, bob)
        request_id = make.approval(assignees=[ada, make.user()], required=2)
        look()
        (mine,) = Notification.objects.filter(destination__user=bob).values_list("pk", flat=True)
        assert [each.moot for each in notices([mine])] == [""]
        decide(ada, request_id)
        assert [each.moot for each in notices([mine])] == ["The person has voted."]
        delegations.end(made)
        assert [each.moot for each in notices([mine])] == ["The person may not see the request any more."]


class TestChanges:
    """When somebody's rights change by a delegation, for those who show what people may decide."""

    @both_databases
    def test_the_next_is_the_first_that_begins_or_runs_out_by_itself(self, ada: User, bob: User) -> None:
        now = database_now()
        assert next_change(now) is None
        make.delegation(ada, bob, starts_at=now, ends_at=now + 5 * HOUR)
        assert next_change(now) == now + 5 * HOUR
        coming = make.delegation(bob, ada, starts_at=now + 2 * HOUR, ends_at=now + 9 * HOUR)
        assert next_change(now) == now + 2 * HOUR
        assert next_change(now + 2 * HOUR) == now + 5 * HOUR
        assert next_change(now + 5 * HOUR) == now + 9 * HOUR
        delegations.end(coming)
        assert next_change(now) == now + 5 * HOUR

    @both_databases
    def test_what_was_made_or_ended_since_is_found_each_time_in_another_version(
        self, ada: User, bob: User
    ) -> None:
        start = database_now()
        made = UUID(make.delegation(ada, bob))
        assert delegations_changed_since(start) == {made: None}
        assert delegations_changed_since(start + HOUR) == {}
        ada.is_active = False
        ada.save()
        ended = delegations_changed_since(start)
        assert ended.keys() == {made}
        assert ended[made] is not None


def until_somebody_waits() -> None:
    """Until another connection waits for a lock that is held here."""
    until = monotonic() + patience()
    while monotonic() < until:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            if cursor.fetchone()[0]:
                return
        sleep(0.01)
    pytest.fail("nobody waited")
