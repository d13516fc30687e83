"""Who is new is told once, in one message, what waits: a destination, and a delegate."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from pytest_django import Settings

from approvals import deciding
from approvals.database import clock
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.delivery.notifications import NotificationCarrier
from approvals.domain.commands import Actor
from approvals.models import Destination, HumanRequest, Notification, Preference
from approvals.writer import delegations as delegations_on_record
from approvals.writer import dispatches, greetings, notifications, outboxes
from tests import factories as make
from tests.approvals.delivery.webhooks.receiver import Receiver
from tests.clients import client_of
from tests.mail_server import MailServer, mail_server, send_by_smtp
from tests.marks import both_databases
from tests.told import look

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

PROGRAM = Actor.program()


@pytest.fixture(autouse=True)
def telling(settings: Settings) -> Iterator[None]:
    settings.SAYSO_NOTIFY, settings.SAYSO_URL = "on", "https://sayso.example.com"
    yield
    clock.move_back()


@pytest.fixture
def smtp(settings: Settings) -> Iterator[MailServer]:
    with mail_server() as server:
        send_by_smtp(settings, server.port)
        yield server


def added(owner: User | Group, kind: str = "webhook", **fields: Any) -> Destination:
    """A destination that somebody has just added."""
    row = make.destination(owner, kind, "https://hooks.example.org/", to_greet=True, **fields)
    greetings.hint(row.pk)
    return row


def greet() -> list[str]:
    """Greet all newcomers; the titles of what is told by that so far."""
    while greetings.greet():
        pass
    rows = Notification.objects.filter(greets=True).order_by("request__title")
    return list(rows.values_list("request__title", flat=True))


def digests() -> int:
    """How many messages all greetings are together."""
    return Notification.objects.filter(greets=True).values("destination", "digest").distinct().count()


def closing(function: Any) -> None:
    try:
        function()
    finally:
        connection.close()


async def deliver() -> None:
    """Deliver once all that is due."""
    carrier = NotificationCarrier()
    for due in await in_database(notifications.outbox.claim, 50):
        attempt = outboxes.Attempt(due=due, seconds=0.0, answer=await carrier.deliver(due))
        await in_database(notifications.outbox.record, [attempt])
    carrier.close()


class TestDestinations:
    @both_databases
    def test_a_new_one_is_told_what_waits_in_one_message_and_once(self, ada: User, bob: User) -> None:
        """What its person may decide and has not: neither what is closed, nor what is another's."""
        for title in ("First", "Second"):
            make.approval(title, assignees=[ada])
        make.approval("Voted", assignees=[ada, bob], required=2)
        deciding.decide(make.actor(ada), _id("Voted"), "approve")
        make.approval("Bob's", assignees=[bob])
        deciding.withdraw(PROGRAM, make.approval("Closed", assignees=[ada]))
        look()
        row = added(ada)
        assert greet() == ["First", "Second"]
        assert {one.destination for one in Notification.objects.filter(greets=True)} == {row}
        assert digests() == 1
        assert greet() == ["First", "Second"]

    @both_databases
    def test_then_it_hears_of_what_comes(self, ada: User) -> None:
        make.approval("Before", assignees=[ada])
        look()
        row = added(ada)
        greet()
        make.approval("After", assignees=[ada])
        look()
        told = Notification.objects.filter(destination=row).order_by("created_at")
        assert list(told.values_list("request__title", "greets")) == [("Before", True), ("After", False)]

    @pytest.mark.parametrize("first", [look, greet], ids=["told", "greeted"])
    def test_what_opens_at_that_moment_is_told_once(self, ada: User, first: Any) -> None:
        row = added(ada)
        make.approval("Now", assignees=[ada])
        first()
        look()
        greet()
        assert Notification.objects.filter(destination=row).count() == 1

    def test_where_nothing_waits_or_it_does_not_hear_of_requests_it_is_told_nothing(self, ada: User) -> None:
        added(ada)
        assert greet() == []
        make.approval("Later", assignees=[ada])
        added(ada, events=["closed", "reminder"])
        assert greet() == []
        assert not Destination.objects.filter(to_greet=True).exists()

    @both_databases
    def test_one_of_a_group_is_told_what_the_group_may_decide(self, ada: User) -> None:
        team, reviewers = make.group("finance", ada), make.group("reviewers")
        reviewers.permissions.add(Permission.objects.get(codename="decide_humanrequest"))
        make.approval("Named", assignees=[team])
        make.approval("Anybody's")
        make.approval("Ada's", assignees=[ada])
        added(team)
        assert greet() == ["Named"]
        added(reviewers)
        assert greet() == ["Anybody's", "Named"]

    def test_what_more_than_fifty_may_decide_is_told_to_no_person(self, ada: User) -> None:
        crowd = make.group("crowd", ada, *(make.user() for _ in range(50)))
        make.approval("Everybody's", assignees=[crowd])
        added(ada)
        assert greet() == []
        added(crowd)
        assert greet() == ["Everybody's"]

    def test_what_so_many_may_decide_does_not_hide_what_is_told(
        self, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("approvals.queries.greetings.REQUESTS_AT_MOST", 3)
        people = [make.user() for _ in range(50)]
        crowd = make.group("crowd", ada, *people)
        for number in range(3):
            make.approval(f"Everybody's {number}", assignees=[crowd], timeout=1000)
        make.approval("Ada's", assignees=[ada], timeout=None)
        make.approval("Fifty's", assignees=[crowd], requester=people[0], four_eyes=True, timeout=None)
        added(ada)
        assert greet() == ["Ada's", "Fifty's"]

    def test_the_account_that_is_told_for_the_first_time_is_not_new(
        self, ada: User, settings: Settings
    ) -> None:
        """Switching it on floods nobody."""
        settings.SAYSO_NOTIFY = "off"
        make.approval("Before", assignees=[ada])
        settings.SAYSO_NOTIFY = "on"
        make.approval("After", assignees=[ada])
        look()
        assert greet() == []

    @both_databases
    def test_several_who_greet_at_once_write_one_greeting(self, ada: User) -> None:
        for number in range(20):
            make.approval(f"Pay {number}", assignees=[ada])
        look()
        added(ada)
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: closing(greetings.greet), range(8)))
        assert len(greet()) == 20
        assert digests() == 1

    def test_quiet_hours_hold(self, ada: User) -> None:
        now = database_now()
        until = (now + timedelta(hours=2)).replace(second=0, microsecond=0)
        quiet = {"quiet_from": (now - timedelta(hours=1)).time(), "quiet_until": until.time()}
        Preference.objects.create(user=ada, **quiet)
        make.approval("Calm", assignees=[ada], timeout=None)
        added(ada)
        greet()
        assert Notification.objects.get(greets=True).due_at == until

    def test_the_rate_bound_holds(self, ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
        """And a greeting is one message, whatever it lists."""
        monkeypatch.setattr(dispatches, "AN_HOUR", 1)
        Destination.objects.create(user=ada, events=["opened"], to_greet=True)
        for number in range(3):
            make.approval(f"Pay {number}", assignees=[ada], timeout=None)
        assert len(greet()) == 3
        assert Notification.objects.filter(greets=True, due_at__lte=database_now()).count() == 3
        make.approval("Next", assignees=[ada], timeout=None)
        look()
        assert Notification.objects.get(request__title="Next").digest > database_now()

    @pytest.mark.parametrize(("setting", "greeted"), [("on", ["Waits"]), ("off", [])])
    def test_one_that_an_administrator_adds_is_greeted_where_people_are_told(
        self, ada: User, settings: Settings, allowed: None, setting: str, greeted: list[str]
    ) -> None:
        make.approval("Waits", assignees=[ada])
        settings.SAYSO_NOTIFY = setting
        said = {
            "user": "ada",
            "kind": "webhook",
            "address": "https://hooks.example.org/",
            "events": ["opened"],
        }
        admin = client_of(make.user("root", is_staff=True, is_superuser=True))
        assert admin.post("/admin/approvals/destination/add/", said).status_code == 302
        settings.SAYSO_NOTIFY = "on"
        assert greet() == greeted

    def test_one_that_a_person_adds_is_greeted(self, ada: User, allowed: None) -> None:
        make.approval("Waits", assignees=[ada])
        client = Client()
        client.force_login(ada)
        client.post("/preferences/webhooks/", {"address": "https://hooks.example.org/", "events": ["opened"]})
        assert greet() == ["Waits"]


class TestDelegations:
    @both_databases
    def test_a_delegate_is_told_what_waits_because_of_it(self, ada: User, bob: User) -> None:
        """Not what they could decide before, and not what four eyes keeps from them."""
        make.approval("Ada's", assignees=[ada])
        make.approval("Both's", assignees=[ada, bob])
        make.approval("Four eyes", assignees=[ada], requester=bob, four_eyes=True)
        look()
        make.delegation(ada, bob)
        assert greet() == ["Ada's"]
        assert greet() == ["Ada's"]
        assert {row.destination.user for row in Notification.objects.filter(greets=True)} == {bob}

    def test_it_is_told_when_it_begins_and_not_if_it_was_ended_before(self, ada: User, bob: User) -> None:
        make.approval("Waits", assignees=[ada], timeout=None)
        make.delegation(ada, bob, starts_at=database_now() + timedelta(minutes=10))
        assert greet() == []
        clock.move(timedelta(minutes=11))
        assert greet() == ["Waits"]

        carl = make.user("carl")
        made = make.delegation(ada, carl, starts_at=database_now() + timedelta(minutes=1))
        delegations_on_record.end(made, None)  # type: ignore[arg-type]
        clock.move(timedelta(minutes=20))
        greet()
        assert not Notification.objects.filter(destination__user=carl).exists()

    @both_databases
    async def test_a_second_delegation_tells_again_what_still_waits(
        self, ada: User, bob: User, smtp: MailServer, stack: object
    ) -> None:
        def stand(title: str) -> None:
            make.approval(title, assignees=[ada], timeout=None)
            look()
            made = make.delegation(ada, bob)
            greet()
            ended.append(made)

        ended: list[Any] = []
        await in_database(stand, "First")
        await deliver()
        await in_database(delegations_on_record.end, ended[0], None)
        clock.move(timedelta(minutes=5))
        await in_database(stand, "Second")
        clock.move(timedelta(minutes=8))
        await deliver()
        letters = [letter for letter in smtp.taken if letter["To"] == "bob@example.org"]
        assert [letter["Subject"] for letter in letters] == [
            "1 request waits for you",
            "2 requests wait for you",
        ]

    @pytest.mark.parametrize("ended", [False, True])
    def test_one_that_prolongs_another_tells_nothing_again(self, ada: User, bob: User, ended: bool) -> None:
        """Nor does one that was ended before its greeting, where another holds."""
        make.approval("Ada's", assignees=[ada], timeout=None)
        make.delegation(ada, bob)
        assert greet() == ["Ada's"]
        Notification.writing.update(status="delivered", due_at=None)
        clock.move(timedelta(minutes=5))
        made = make.delegation(ada, bob, ends_at=database_now() + timedelta(hours=8))
        if ended:
            delegations_on_record.end(UUID(made), None)
        greet()
        assert not Notification.objects.filter(status="waiting").exists()

    async def test_the_rate_bound_holds_for_what_is_told_again(
        self, ada: User, bob: User, smtp: MailServer, stack: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stand() -> str:
            made = make.delegation(ada, bob)
            greet()
            return made

        def begin() -> None:
            """Long before the hour ends, when what is too much is told."""
            now = database_now()
            clock.move(now.replace(minute=1, second=0, microsecond=0) + timedelta(hours=1) - now)
            make.approval("Ada's", assignees=[ada], timeout=None)

        monkeypatch.setattr(dispatches, "AN_HOUR", 2)
        await in_database(begin)
        for _ in range(5):
            made = await in_database(stand)
            await deliver()
            await in_database(delegations_on_record.end, UUID(made), None)
        assert len(smtp.taken) == 2

    async def test_what_is_told_again_among_others_is_another_message(
        self, ada: User, bob: User, hook: Receiver, smtp: MailServer, stack: object
    ) -> None:
        """By its id, too: receivers drop what they have got before."""

        def stand(title: str) -> str:
            make.approval(title, assignees=[ada], timeout=None)
            made = make.delegation(ada, bob)
            greet()
            return made

        await in_database(make.destination, bob, "webhook", f"{hook.url}/told")
        made = await in_database(stand, "First")
        await deliver()
        await in_database(delegations_on_record.end, UUID(made), None)
        clock.move(timedelta(minutes=5))
        await in_database(stand, "Second")
        await deliver()
        first, second = hook.posted
        assert [len(one.json["data"]["requests"]) for one in (first, second)] == [1, 2]
        assert first.headers["webhook-id"] != second.headers["webhook-id"]
        assert first.json["timestamp"] < second.json["timestamp"]
        letters = [letter["Message-ID"] for letter in smtp.taken if letter["To"] == "bob@example.org"]
        assert len(letters) == len(set(letters)) == 2

    def test_where_people_are_not_told_a_delegate_is_not_either(
        self, ada: User, bob: User, settings: Settings
    ) -> None:
        settings.SAYSO_NOTIFY = "off"
        make.approval("Waits", assignees=[ada])
        make.delegation(ada, bob)
        settings.SAYSO_NOTIFY = "on"
        assert greet() == []


class TestMessages:
    @both_databases
    async def test_a_new_mailbox_and_a_delegate_get_one_message_each_that_lists_what_waits(
        self, teller: None, ada: User, bob: User, smtp: MailServer, settings: Settings
    ) -> None:
        def ask() -> None:
            team = make.group("finance", ada)
            for number in range(3):
                make.approval(f"Pay {number}", assignees=[team], timeout=None)

        def begin() -> None:
            row = make.destination(
                Group.objects.get(name="finance"), "email", "team@example.org", to_greet=True
            )
            greetings.hint(row.pk)
            make.delegation(ada, bob)

        settings.SAYSO_NOTIFY = "off"  # so nobody has been told
        await in_database(ask)
        settings.SAYSO_NOTIFY = "on"
        await in_database(begin)
        letters = await asyncio.to_thread(smtp.wait_for, 2)
        assert {(one["To"], one["Subject"]) for one in letters} == {
            ("team@example.org", "3 requests wait for finance"),
            ("bob@example.org", "3 requests wait for you"),
        }

    async def test_what_may_not_be_seen_any_more_is_not_told(
        self, ada: User, bob: User, smtp: MailServer, stack: object
    ) -> None:
        def begin() -> None:
            Destination.objects.create(user=ada, events=["opened"], to_greet=True)
            for title in ("Mine", "Bob's by now"):
                make.approval(title, assignees=[ada])
            greet()
            deciding.reassign(PROGRAM, _id("Bob's by now"), ["bob"])

        await in_database(begin)
        await deliver()
        (letter,) = smtp.taken
        said = letter.get_body(("plain",)).get_content()  # type: ignore[attr-defined]
        assert letter["Subject"] == "1 request waits for you"
        assert "From now on you hear of what comes." in said
        assert "Mine" in said
        assert "Bob's" not in said
        statuses = (
            Notification.objects.filter(greets=True).order_by("status").values_list("status", flat=True)
        )
        assert await in_database(list, statuses) == ["delivered", "moot"]

    async def test_a_program_gets_one_message_with_all_requests(
        self, ada: User, hook: Receiver, stack: object
    ) -> None:
        def begin() -> None:
            make.destination(ada, "webhook", f"{hook.url}/told", to_greet=True)
            make.approval("Open", assignees=[ada], timeout=100)
            make.approval("Secret", assignees=[ada], timeout=200, confidential=True)
            greet()

        await in_database(begin)
        await deliver()
        (posted,) = hook.posted
        assert posted.json["type"] == "requests.waiting"
        assert posted.json["data"]["to"] == {"user": "ada"}
        assert posted.json["data"]["more"] is False
        first, second = posted.json["data"]["requests"]
        assert first["title"] == "Open"
        assert set(second) == {"id", "url", "confidential"}

    async def test_more_than_a_hundred_are_not_all_listed(
        self, ada: User, smtp: MailServer, stack: object
    ) -> None:
        def begin() -> None:
            Destination.objects.create(user=ada, events=["opened"], to_greet=True)
            for number in range(103):
                make.approval(f"Pay {number}", assignees=[ada])
            greet()

        await in_database(begin)
        await deliver()
        (letter,) = smtp.taken
        said = letter.get_body(("plain",)).get_content()  # type: ignore[attr-defined]
        assert letter["Subject"] == "More than 100 requests wait for you"
        assert said.count("Approve or reject: Pay") == 100
        assert "And more, in your inbox" in said


def _id(title: str) -> str:
    return str(HumanRequest.objects.get(title=title).pk)
