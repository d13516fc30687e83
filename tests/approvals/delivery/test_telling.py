"""People are told about requests by mail: each event once to each of them, and nothing that has no point."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, time, timedelta
from email.message import EmailMessage
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from approvals import deciding, queries
from approvals.database import clock
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.delivery import notifications as delivery
from approvals.delivery.messages import compose, compose_digest
from approvals.delivery.notifications import NotificationCarrier
from approvals.domain.commands import Actor, Channel, Escalate, Reschedule
from approvals.domain.telling import Told
from approvals.management import accounts
from approvals.models import Destination, HumanRequest, Notification, Preference, Watch
from approvals.process import hints
from approvals.process.telemetry import REGISTRY
from approvals.queries import tellings
from approvals.queries.notices import CLOSED, notices
from approvals.web.edge import tokens
from approvals.writer import dispatches, notifications, outboxes, queue, watches
from tests import factories as make
from tests.looking import until
from tests.mail_server import LATER, NEVER, MailServer, mail_server, send_by_smtp
from tests.marks import both_databases
from tests.told import give_up, look, told

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

URL = "https://sayso.example.com/approvals"
PROGRAM = Actor.program()


@pytest.fixture(autouse=True)
def telling(settings: Settings) -> None:
    settings.SAYSO_NOTIFY, settings.SAYSO_URL = "on", URL


@pytest.fixture
def smtp(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    """The installation's mail server; what failed is tried again when the test says so."""
    monkeypatch.setattr(outboxes, "BACKOFF", (600.0,))
    with mail_server() as server:
        send_by_smtp(settings, server.port)
        yield server


def all_told() -> list[tuple[str, int, str]]:
    """Look once at all that is due; return all notifications so far: event, sequence, person."""
    look()
    rows = Notification.objects.order_by("created_at", "event", "destination__user__username")
    return list(rows.values_list("event", "sequence", "destination__user__username"))


def clock_moved(seconds: float) -> None:
    """So much time passes, on the database's clock."""
    clock.move(timedelta(seconds=seconds))


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    yield
    clock.move_back()


def reassign(actor: Actor, request: str, *people: User) -> None:
    deciding.reassign(actor, request, [person.username for person in people])


def escalate(request: str, step: int) -> None:
    queue.write(Escalate(request_id=queries.as_id(request), step=step))


def a_moment_ago() -> dict[str, Any]:
    """The pause of what failed is over, and it has changed."""
    moment = database_now() - timedelta(seconds=1)
    return {"due_at": moment, "changed_at": moment}


def closing(function: Callable[[], object]) -> None:
    """Call it in a thread, whose connection does not outlive that."""
    try:
        function()
    finally:
        connection.close()


async def came(smtp: MailServer, count: int = 1) -> list[EmailMessage]:
    return await asyncio.to_thread(smtp.wait_for, count)  # type: ignore[arg-type]


async def settled(status: str, attempts: int) -> Notification:
    """The only notification, as soon as it is so."""
    while True:
        row: Notification | None = await in_database(Notification.objects.first)
        if row and (row.status, row.attempts, row.claimed_until) == (status, attempts, None):
            return row


def counted(fate: str) -> float:
    """How many attempts of this process had this fate."""
    return REGISTRY.get_sample_value("sayso_notifications_total", {"fate": fate}) or 0.0


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content())


class TestWhoIsTold:
    @both_databases
    def test_whoever_may_decide_hears_of_a_request_when_it_opens(self, ada: User, bob: User) -> None:
        make.approval(assignees=[ada, make.group("finance", bob)])
        assert all_told() == [("opened", 1, "ada"), ("opened", 1, "bob")]

    def test_what_is_assigned_to_nobody_is_told_to_all_who_may_decide_that(self, ada: User) -> None:
        make.reviewer("rita")
        make.reviewer("gone", is_active=False)
        make.approval()
        assert all_told() == [("opened", 1, "rita")]

    def test_nobody_is_told_what_they_did_or_may_not_decide(self, ada: User, bob: User) -> None:
        make.approval(assignees=[ada, bob], requester=ada, four_eyes=True)
        assert all_told() == [("opened", 1, "bob")]

    def test_what_ones_program_did_one_is_told(self, ada: User) -> None:
        """An agent with a token of ada's asks ada."""
        token, _ = tokens.issue(ada.pk, "agent", ["ask"])
        actor = make.actor(ada, Channel.API, token_id=token.pk)
        make.approval(assignees=[ada], requester=ada, actor=actor)
        assert all_told() == [("opened", 1, "ada")]

    @both_databases
    def test_each_is_told_once_however_often_somebody_looks(self, ada: User) -> None:
        request = make.approval(assignees=[ada])
        look()
        Watch.writing.update(due_at=database_now(), told_to=0)
        assert all_told() == [("opened", 1, "ada")]
        deciding.record_views(make.actor(ada), [queries.as_id(request)])
        assert all_told() == [("opened", 1, "ada")]

    def test_what_closed_before_anybody_looked_is_told_to_no_decider(self, ada: User) -> None:
        deciding.withdraw(PROGRAM, make.approval(assignees=[ada]))
        assert all_told() == []

    @both_databases
    def test_whom_it_is_handed_to_hears_of_it_and_who_had_it_does_not(self, ada: User, bob: User) -> None:
        request = make.approval(assignees=[ada])
        look()
        reassign(make.actor(ada), request, ada, bob)
        assert all_told()[1:] == [("reassigned", 2, "bob")]
        reassign(PROGRAM, request, bob)
        reassign(PROGRAM, request, ada, bob)
        assert all_told()[2:] == [("reassigned", 4, "ada")]

    @both_databases
    def test_to_whom_it_is_escalated_hears_of_it_once_and_who_had_it_does_not(
        self, ada: User, bob: User
    ) -> None:
        olga = make.user("olga")
        make.delegation(olga, make.user("deputy"))
        steps = [{"after": 0.1, "users": [ada, bob]}, {"after": 0.2, "users": [olga, bob], "replace": True}]
        request = make.approval(assignees=[ada], timeout=1000, escalation=steps)
        look()
        clock_moved(150)
        escalate(request, 0)
        assert all_told()[1:] == [("escalated", 2, "bob")]
        Watch.writing.update(due_at=database_now(), told_to=0)
        assert len(all_told()) == 2
        clock_moved(100)
        escalate(request, 1)
        assert all_told()[2:] == [("escalated", 3, "deputy"), ("escalated", 3, "olga")]

    def test_nobody_is_asked_twice_at_once(self, ada: User, bob: User) -> None:
        """What opened and was escalated or handed on before anybody looked."""
        steps = [{"after": 0.1, "users": [bob]}]
        request = make.approval(assignees=[ada], timeout=1000, escalation=steps)
        clock_moved(150)
        escalate(request, 0)
        reassign(PROGRAM, request, ada, bob, make.user("carl"))
        assert all_told() == [("escalated", 2, "bob"), ("opened", 1, "ada"), ("reassigned", 3, "carl")]

    def test_who_could_decide_as_a_reviewer_is_not_told_of_being_named(self, ada: User) -> None:
        rita = make.reviewer("rita")
        request = make.approval()
        look()
        reassign(PROGRAM, request, rita, ada)
        assert all_told()[1:] == [("reassigned", 2, "ada")]

    def test_a_question_is_told_to_who_asked_and_the_reply_to_who_wants_to_know(
        self, ada: User, bob: User
    ) -> None:
        for person in (ada, bob):
            Destination.objects.create(user=person, events=["question", "reply"])
        request = make.approval(assignees=[ada], requester=bob)
        deciding.comment(make.actor(ada), request, "Why?", question=True)
        deciding.comment(make.actor(ada), request, "Nobody is told this.")
        deciding.comment(make.actor(bob), request, "Because.")
        assert all_told() == [("question", 2, "bob"), ("reply", 4, "ada")]

    def test_the_outcome_is_told_to_who_asked_and_wants_it(self, ada: User, bob: User) -> None:
        Destination.objects.create(user=bob, events=["closed"])
        deciding.decide(make.actor(ada), make.approval(assignees=[ada], requester=bob), "reject")
        deciding.decide(make.actor(ada), make.approval(assignees=[ada], requester=make.user()), "reject")
        deciding.withdraw(make.actor(bob), make.approval(assignees=[ada], requester=bob))
        assert all_told() == [("closed", 2, "bob")]

    def test_more_people_than_fifty_are_not_told_one_by_one(self) -> None:
        people = [make.user() for _ in range(51)]
        make.approval(assignees=people)
        assert all_told() == []
        make.approval(assignees=people[:50])
        assert len(all_told()) == 50

    @both_databases
    def test_looking_takes_the_same_queries_however_many_there_are(self, ada: User) -> None:
        counted = []
        for number in (1, 2, 30):
            for _ in range(number):
                make.approval(assignees=[ada])
            with CaptureQueriesContext(connection) as queries_made:
                look()
            counted.append(len(queries_made))
        assert Notification.objects.count() == 33
        few, many = counted[1:]  # the first may have to connect
        assert many <= few < 35

    @both_databases
    def test_many_who_look_at_once_write_each_once(self, ada: User, bob: User) -> None:
        for _ in range(40):
            make.approval(assignees=[ada, bob])
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: closing(look), range(8)))
        assert Counter(all_told()) == {("opened", 1, "ada"): 40, ("opened", 1, "bob"): 40}
        assert not Watch.objects.exclude(claimed_until=None).exists()

    def test_who_was_forgotten_gets_no_destination_again(self, ada: User, bob: User) -> None:
        request = make.approval(assignees=[ada], requester=bob)
        deciding.decide(make.actor(ada), request, "approve")
        accounts.end_access(bob.pk, None)
        accounts.take_name(bob.pk)
        deciding.comment(make.actor(ada), request, "What for?", True)
        assert all_told() == []
        assert not Destination.objects.filter(user=bob).exists()

    @both_databases
    def test_what_changes_while_somebody_looks_is_looked_at_again(self, ada: User, bob: User) -> None:
        request = make.approval(assignees=[ada])
        claimed = watches.claim(10)
        looks = tellings.look_at(claimed)
        reassign(PROGRAM, request, bob)
        dispatches.enqueue(claimed, looks)
        assert all_told() == [("opened", 1, "ada"), ("reassigned", 2, "bob")]

    @both_databases
    def test_what_is_handed_on_between_two_reads_of_a_look_is_told_to_whom_it_was_handed(
        self, ada: User, bob: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who decides was read before, the entry that names others after it."""
        request = make.approval(assignees=[ada])

        def hand_on() -> datetime:
            monkeypatch.undo()
            reassign(PROGRAM, request, bob)
            return database_now()

        monkeypatch.setattr(tellings, "database_now", hand_on)
        look()
        assert ("reassigned", 2, "bob") in all_told()

    def test_a_claim_that_ran_out_is_taken_by_others_and_written_once(self, ada: User) -> None:
        make.approval(assignees=[ada])
        lost = watches.claim(10)
        looks = tellings.look_at(lost)
        assert all_told() == []
        clock_moved(61)
        assert all_told() == [("opened", 1, "ada")]
        dispatches.enqueue(lost, looks)
        assert all_told() == [("opened", 1, "ada")]

    def test_without_the_setting_nothing_is_watched(self, ada: User, settings: Settings) -> None:
        """So switching it on floods nobody."""
        settings.SAYSO_NOTIFY = "off"
        request = make.approval(assignees=[ada])
        settings.SAYSO_NOTIFY = "on"
        reassign(PROGRAM, request, make.user())
        assert all_told() == []
        assert not Watch.objects.exists()


class TestReminders:
    @both_databases
    def test_who_has_not_voted_is_reminded_once_when_most_of_the_time_is_over(
        self, ada: User, bob: User
    ) -> None:
        request = make.approval(assignees=[ada, bob], required=2, timeout=1000)
        look()
        due = Watch.objects.get().due_at
        asked = queries.requests_by_id([queries.as_id(request)])[0]
        assert due == asked.opened_at + timedelta(seconds=800)
        deciding.decide(make.actor(ada), request, "approve")
        assert Watch.objects.get().due_at == due, "a vote changes nothing for others"
        clock_moved(850)
        assert all_told()[2:] == [("reminder", 1, "bob")]
        assert Watch.objects.get().due_at is None

    def test_without_a_deadline_they_are_reminded_each_day_three_times(self, ada: User) -> None:
        make.approval(assignees=[ada], timeout=None)
        look()
        for day in range(1, 6):
            clock_moved(24 * 3600 + 60 if day == 1 else 24 * 3600)
            look()
        assert [told[:2] for told in all_told()] == [
            ("opened", 1),
            ("reminder", 1),
            ("reminder", 2),
            ("reminder", 3),
        ]
        assert Watch.objects.get().due_at is None

    def test_when_is_a_term_and_so_is_never(self, ada: User) -> None:
        for title, remind in (("Half", 0.5), ("None", None), ("Nought", 0)):
            make.approval(title, assignees=[ada], timeout=1000, remind=remind)
        make.approval("Days", assignees=[ada], timeout=None, remind=None)
        look()
        due = dict(Watch.objects.values_list("request__title", "due_at"))
        opened = HumanRequest.objects.get(title="Half").opened_at
        assert due == {"Half": opened + timedelta(seconds=500), "None": None, "Nought": None, "Days": None}
        clock_moved(600)
        look()
        assert [one.request.title for one in Notification.objects.filter(event="reminder")] == ["Half"]

    def test_a_deadline_that_is_moved_moves_the_reminder(self, ada: User) -> None:
        request = make.approval(assignees=[ada], timeout=1000)
        look()
        before = Watch.objects.get().due_at
        queue.write(Reschedule(request_id=queries.as_id(request), actor=PROGRAM, timeout=5000))
        look()
        assert Watch.objects.get().due_at > before + timedelta(seconds=3000)


class TestQuietHours:
    """The night ends in three hours, wherever the tests run."""

    @pytest.fixture
    def morning(self) -> datetime:
        return database_now().replace(second=0, microsecond=0) + timedelta(hours=3)

    @pytest.fixture
    def night(self, morning: datetime) -> Callable[..., None]:
        zone = ZoneInfo("Asia/Kathmandu")
        ends = morning.astimezone(zone).time()
        begins = (morning - timedelta(hours=9)).astimezone(zone).time()

        def choose(person: User, **chosen: Any) -> None:
            Preference.objects.create(
                user=person, time_zone="Asia/Kathmandu", quiet_from=begins, quiet_until=ends, **chosen
            )

        return choose

    @both_databases
    def test_what_is_told_at_night_waits_for_the_morning_and_is_tried_for_a_day_from_then(
        self, ada: User, bob: User, night: Callable[..., None], morning: datetime
    ) -> None:
        night(ada)
        make.approval(assignees=[ada, bob], timeout=4 * 3600)
        look()
        due = dict(Notification.objects.values_list("destination__user__username", "due_at"))
        assert due["ada"] == morning
        assert due["bob"] <= database_now()
        late = Notification.objects.get(destination__user=ada)
        assert late.pk not in {row.id for row in notifications.outbox.claim(5)}
        assert late.give_up_at == morning + notifications.LONGEST_TRY
        clock_moved(3 * 3600)
        assert late.pk in {row.id for row in notifications.outbox.claim(5)}

    def test_what_would_be_over_by_then_comes_at_once_unless_they_chose_otherwise(
        self, ada: User, bob: User, night: Callable[..., None], morning: datetime
    ) -> None:
        night(ada)
        night(bob, urgent_breaks_quiet=False)
        make.approval(assignees=[ada, bob], timeout=3600)
        look()
        due = dict(Notification.objects.values_list("destination__user__username", "due_at"))
        assert due["ada"] <= database_now()
        assert due["bob"] == morning

    def test_what_failed_before_the_night_is_tried_again_in_the_morning(
        self, ada: User, bob: User, night: Callable[..., None], morning: datetime
    ) -> None:
        """Unless it would be too late then."""
        for timeout in (None, 3600):
            make.approval(assignees=[ada, bob], timeout=timeout)
        look()
        claimed = notifications.outbox.claim(8)
        night(ada)
        failed = outboxes.Answer(error="The mail server answered 451.")
        notifications.outbox.record(
            [outboxes.Attempt(due=due, seconds=0.0, answer=failed) for due in claimed]
        )
        late = Notification.objects.filter(due_at=morning).values_list(
            "destination__user__username", "request__deadline"
        )
        assert list(late) == [("ada", None)]
        assert Notification.objects.filter(status="waiting", attempts=1).count() == 4

    def test_the_deadline_of_a_request_that_is_closed_wakes_nobody(
        self, ada: User, night: Callable[..., None], morning: datetime
    ) -> None:
        night(ada)
        Destination.objects.create(user=ada, events=["closed"])
        deciding.withdraw(PROGRAM, make.approval(requester=ada, assignees=[make.user()], timeout=3600))
        assert all_told() == [("closed", 2, "ada")]
        assert Notification.objects.get().due_at == morning

    def test_days_without_messages_end_at_midnight(self, ada: User) -> None:
        today = database_now()
        Preference.objects.create(user=ada, quiet_days=[today.weekday(), (today.weekday() + 1) % 7])
        make.approval(assignees=[ada], timeout=None)
        look()
        midnight = datetime.combine(today.date() + timedelta(days=2), time(0), UTC)
        assert Notification.objects.get().due_at == midnight

    async def test_a_message_tells_the_deadline_on_the_clock_of_the_person(
        self, teller: None, ada: User, bob: User, smtp: MailServer
    ) -> None:
        await in_database(lambda: Preference.objects.create(user=ada, time_zone="Asia/Kathmandu"))
        request = await in_database(make.approval, assignees=[ada, bob])
        letters = {letter["To"]: text_of(letter) for letter in await came(smtp, 2)}
        (asked,) = await in_database(queries.requests_by_id, [queries.as_id(request)])
        assert asked.deadline is not None
        there = asked.deadline.astimezone(ZoneInfo("Asia/Kathmandu"))
        assert f"Until {there:%Y-%m-%d %H:%M} Asia/Kathmandu." in letters["ada@example.org"]
        assert f"Until {asked.deadline:%Y-%m-%d %H:%M} UTC." in letters["bob@example.org"]


class TestDigest:
    """One message a day, which lists what happened in it."""

    @pytest.fixture
    def at(self, ada: User) -> datetime:
        """When the digest comes: in three hours."""
        moment = database_now().replace(second=0, microsecond=0) + timedelta(hours=3)
        Preference.objects.create(user=ada, digest_at=moment.time())
        return moment

    async def deliver(self) -> None:
        """Claim and deliver what is due now, once."""
        carrier = NotificationCarrier()
        for due in await in_database(notifications.outbox.claim, 8):
            made = outboxes.Attempt(due=due, seconds=0.0, answer=await carrier.deliver(due))
            await in_database(notifications.outbox.record, [made])
        carrier.close()

    def statuses(self) -> Counter[tuple[str, int]]:
        return Counter(Notification.objects.values_list("status", "attempts"))

    @both_databases
    async def test_what_happened_comes_in_one_message_without_what_has_no_point_any_more(
        self, ada: User, at: datetime, smtp: MailServer, stack: object
    ) -> None:
        """However many: more than a process has under way. What failed is tried again together."""
        for number in range(12):
            request = await in_database(make.approval, f"Pay {number}", assignees=[ada], timeout=None)
        await in_database(look)
        await self.deliver()
        assert smtp.taken == []
        await in_database(deciding.withdraw, PROGRAM, request)
        clock_moved(3 * 3600)
        smtp.answers = [LATER]
        await self.deliver()
        assert await in_database(self.statuses) == {("waiting", 1): 11, ("moot", 0): 1}
        clock_moved(700)
        await self.deliver()
        assert await in_database(self.statuses) == {("delivered", 2): 11, ("moot", 0): 1}
        (letter,) = await came(smtp)
        assert letter["Subject"] == "Your digest: 11 messages about requests"
        assert letter["List-Unsubscribe"]
        for text in (text_of(letter), text_of(letter, "html")):
            assert text.count("Approve or reject") == 11
            assert "Pay 10" in text
            assert "Pay 11" not in text
            assert str(request) not in text

    def test_each_waits_for_it_but_reminders_and_what_would_be_over_by_then(
        self, ada: User, bob: User, at: datetime
    ) -> None:
        make.approval("Long", assignees=[ada, bob], timeout=4 * 3600)
        make.approval("Short", assignees=[ada], timeout=3600)
        look()
        rows = Notification.objects.filter(destination__user=ada)
        assert dict(rows.values_list("request__title", "digest")) == {"Long": at, "Short": None}
        assert rows.get(request__title="Long").due_at == at
        assert Notification.objects.get(destination__user=bob).digest is None
        clock_moved(4 * 3600 * 0.9)
        look()
        assert rows.get(event="reminder").digest is None

    @both_databases
    def test_processes_that_claim_at_once_make_one_message_of_it(self, ada: User, at: datetime) -> None:
        for _ in range(12):
            make.approval(assignees=[ada], timeout=None)
        look()
        clock_moved(3 * 3600)
        claimed: list[notifications.Due] = []
        with ThreadPoolExecutor(4) as threads:
            claims = [lambda: claimed.extend(notifications.outbox.claim(8))] * 4
            list(threads.map(closing, claims))
        (due,) = claimed
        assert len(due.live) == 12

    async def test_what_is_decided_while_the_message_waits_for_the_mail_server_is_not_recorded_as_sent(
        self, ada: User, at: datetime, smtp: MailServer, stack: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for title in ("Closed", "Open"):
            await in_database(make.approval, title, assignees=[ada], timeout=None)
        await in_database(look)
        clock_moved(3 * 3600)
        (due,) = await in_database(notifications.outbox.claim, 8)
        monkeypatch.setattr(delivery, "FRESH", -1.0)
        closed = await in_database(HumanRequest.objects.get, title="Closed")
        await in_database(deciding.withdraw, PROGRAM, closed.pk)
        carrier = NotificationCarrier()
        made = outboxes.Attempt(due=due, seconds=0.0, answer=await carrier.deliver(due))
        carrier.close()
        await in_database(notifications.outbox.record, [made])
        statuses = Notification.objects.order_by("request__title").values_list("status", "attempts")
        assert await in_database(list, statuses) == [("moot", 0), ("delivered", 1)]
        (letter,) = await came(smtp)
        assert "Closed" not in text_of(letter)

    def test_one_that_is_sent_again_goes_by_itself(self, ada: User, at: datetime) -> None:
        for _ in range(2):
            make.approval(assignees=[ada], timeout=None)
        look()
        again = Notification.objects.all()[0]
        notifications.send_again(again.pk)
        (due,) = notifications.outbox.claim(8)
        assert (due.id, due.others, due.notice.notification.digest) == (again.pk, (), None)


class TestSending:
    async def test_a_message_names_the_request_and_leads_to_it(
        self, teller: None, ada: User, bob: User, smtp: MailServer
    ) -> None:
        request = await in_database(
            make.approval,
            "Refund 12.00 EUR\u202e",
            assignees=[ada],
            requester=bob,
            arguments={"order": 812, "headers": {"Authorization": "Bearer secret"}, "reason": "a < b"},
            highlight=["order", "headers", "reason"],
            severity="high",
        )
        (letter,) = await came(smtp)
        row = await settled("delivered", 1)
        assert letter["To"] == "ada@example.org"
        assert letter["Subject"] == "Approve or reject: Refund 12.00 EUR[U+202E]"
        assert letter["Message-ID"] == f"<{row.pk}@sayso.example.com>"
        assert letter["References"] == f"<request-{request}@sayso.example.com>"
        assert letter["Auto-Submitted"] == "auto-generated"
        text = text_of(letter)
        assert "bob asks for your approval." in text
        assert "order: 812" in text
        assert "reason: a < b" in text
        assert "high severity" in text
        assert f"{URL}/requests/{request}/" in text
        assert f"{URL}/preferences/" in text
        html = text_of(letter, "html")
        assert "a &lt; b" in html
        assert f'href="{URL}/requests/{request}/"' in html
        assert "secret" not in text + html
        assert "src=" not in html

    def test_an_escalation_says_that_nobody_decided(self, ada: User, bob: User) -> None:
        steps = [{"after": 0.1, "users": [bob]}]
        request = make.approval("Pay", assignees=[ada], requester=ada, timeout=1000, escalation=steps)
        look()
        clock_moved(150)
        escalate(request, 0)
        look()
        (notice,) = notices(Notification.objects.filter(event="escalated").values_list("pk", flat=True))
        message = compose(notice)
        assert message.subject == "Escalated to you: approve or reject: Pay"
        assert "Nobody has decided this so far. ada asks for your approval." in message.text
        assert message.text.count("Pay") == 1

    @pytest.mark.parametrize("links", ["login", "personal"])
    def test_of_a_confidential_request_a_message_says_only_that_it_waits(
        self, ada: User, bob: User, settings: Settings, links: str
    ) -> None:
        """Of each event, alone and in a digest, however much messages say."""
        settings.SAYSO_MESSAGE_DETAIL, settings.SAYSO_LINKS = "full", links
        words = ["Merger", "Secretly", "Borg", "Whisper", "bob", "ada", "eve", "Reject", "Until"]
        for person in (bob, eve := make.user("eve")):
            Destination.objects.create(user=person, events=[event.value for event in Told])
        request = make.approval(
            "Merger",
            details="Secretly",
            arguments={"with": "Borg"},
            assignees=[ada],
            requester=bob,
            timeout=1000,
            confidential=True,
            escalation=[{"after": 0.1, "users": [eve]}],
        )
        look()
        clock_moved(150)
        escalate(request, 0)
        look()
        deciding.comment(make.actor(ada), request, "Whisper?", question=True)
        deciding.comment(make.actor(bob), request, "Whisper!")
        deciding.comment(make.actor(eve), request, "Whisper??", question=True)
        deciding.comment(make.actor(bob), request, "Whisper!!")
        clock_moved(700)
        look()
        reassign(PROGRAM, request, ada, make.user("zoe"))
        look()
        deciding.decide(make.actor(ada), request, "reject", comment="Whisper")
        look()
        told = notices(Notification.objects.values_list("pk", flat=True))
        events = {one.notification.event for one in told}
        assert events == set(Told)
        for message in (*map(compose, told), compose_digest(told)):
            assert "confidential request" in message.subject + message.text
            lines = [line for line in message.text.splitlines() if "https://" not in line]
            html = re.sub(r'href="[^"]*"|style="[^"]*"', "", message.html)
            for word in words:
                assert word not in message.subject + "".join(lines) + html, word
            assert f"{URL}/requests/{request}/" in message.text
            assert "/d/" not in message.text

    @pytest.mark.parametrize(
        ("detail", "said", "unsaid"),
        [("title", "Pay", "A-812"), ("summary", "A-812", "*Once.*"), ("full", "*Once.*", "\0")],
    )
    async def test_how_much_it_says_is_a_setting(
        self,
        teller: None,
        ada: User,
        smtp: MailServer,
        settings: Settings,
        detail: str,
        said: str,
        unsaid: str,
    ) -> None:
        settings.SAYSO_MESSAGE_DETAIL = detail
        arguments = {"order": "A-812"}  # in no id
        await in_database(make.approval, "Pay", details="*Once.*", arguments=arguments, assignees=[ada])
        (letter,) = await came(smtp)
        assert said in text_of(letter)
        assert unsaid not in text_of(letter)

    @pytest.mark.parametrize(
        "meanwhile",
        [
            lambda ada, request: deciding.withdraw(PROGRAM, request),
            lambda ada, request: reassign(PROGRAM, request, make.user(), make.user()),
            lambda ada, request: deciding.decide(make.actor(ada), request, "approve"),
            lambda ada, request: User.objects.filter(pk=ada.pk).update(is_active=False),
        ],
        ids=["withdrawn", "reassigned", "voted", "deactivated"],
    )
    async def test_what_has_no_point_any_more_is_not_sent(
        self, ada: User, smtp: MailServer, meanwhile: Any, stack: object
    ) -> None:
        request = await in_database(lambda: make.approval(assignees=[ada, make.user()], required=2))
        await in_database(look)
        await in_database(Notification.writing.exclude(destination__user=ada).delete)
        await in_database(meanwhile, ada, request)
        (due,), before = await in_database(notifications.outbox.claim, 2), counted("moot")
        carrier = NotificationCarrier()
        answer = await carrier.deliver(due)
        carrier.close()
        assert answer.moot
        await in_database(
            notifications.outbox.record, [outboxes.Attempt(due=due, seconds=0.0, answer=answer)]
        )
        assert (await settled("moot", 0)).due_at is None
        assert counted("moot") == before + 1
        assert smtp.taken == []

    async def test_what_is_decided_while_the_mail_server_hangs_is_not_sent_when_it_goes_on(
        self, ada: User, smtp: MailServer, stack: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The permission is that of the moment of sending, not of when it was claimed."""
        monkeypatch.setattr(delivery, "MAIL_AT_ONCE", 1)
        monkeypatch.setattr(delivery, "FRESH", 0.0)
        for title in ("Hangs", "Waits"):
            await in_database(make.approval, title, assignees=[ada])
        await in_database(look)
        dues = {one.notice.request.title: one for one in await in_database(notifications.outbox.claim, 2)}
        carrier = NotificationCarrier()
        smtp.goes_on.clear()
        sending = [asyncio.create_task(carrier.deliver(dues[title])) for title in ("Hangs", "Waits")]
        await asyncio.to_thread(smtp.wait_for_connections, 1)
        await in_database(deciding.withdraw, PROGRAM, dues["Waits"].notice.request.pk)
        smtp.goes_on.set()
        answers = await asyncio.gather(*sending)
        carrier.close()
        assert [(one.moot, one.error) for one in answers] == [(False, ""), (True, CLOSED)]
        assert len(smtp.taken) == 1

    async def test_what_the_server_can_not_take_now_is_sent_again_under_the_same_name(
        self, teller: None, ada: User, smtp: MailServer
    ) -> None:
        smtp.answers = [LATER]
        await in_database(make.approval, assignees=[ada])
        row = await settled("waiting", 1)
        await in_database(lambda: Notification.writing.update(**a_moment_ago()))
        await in_database(hints.send, notifications.TOPIC, [row.pk])
        (letter,) = await came(smtp)
        assert letter["Message-ID"] == f"<{row.pk}@sayso.example.com>"
        await settled("delivered", 2)

    async def test_what_the_server_never_takes_is_given_up_with_the_reason(
        self, teller: None, ada: User, smtp: MailServer
    ) -> None:
        smtp.answers, before = [NEVER], counted("failed")
        await in_database(make.approval, assignees=[ada])
        row = await settled("given_up", 1)
        await until(lambda: counted("failed") == before + 1)  # after it is on record
        attempt = await in_database(row.attempt_set.get)
        assert (attempt.status_code, attempt.error) == (554, "The mail server answered 554.")

    def test_what_is_settled_is_removed_after_a_month(self, ada: User) -> None:
        old, young = told("Old", assignees=[ada]), told("Young", assignees=[ada])
        waiting = told("Waiting", assignees=[ada])
        give_up(old)
        give_up(young)
        month_ago = database_now() - timedelta(days=31)
        Notification.writing.filter(pk__in=[old.pk, waiting.pk]).update(changed_at=month_ago)
        claimed = notifications.outbox.claim(1)
        notifications.outbox.record(
            [outboxes.Attempt(due=claimed[0], seconds=0.0, answer=outboxes.Answer(error="Not now."))]
        )
        assert set(Notification.objects.all()) == {young, waiting}

    async def test_who_has_no_address_gets_no_mail_and_the_attempt_says_so(
        self, teller: None, smtp: MailServer
    ) -> None:
        await in_database(make.approval, assignees=[await in_database(make.user)])
        row = await settled("given_up", 1)
        assert (await in_database(row.attempt_set.get)).error == "The account has no email address."
