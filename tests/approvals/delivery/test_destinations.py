"""People and groups are told where they want to be: by signed webhook, by mail to a group, and in order."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import IntegrityError, transaction
from pytest_django import Settings
from standardwebhooks import Webhook, WebhookVerificationError

from approvals import deciding
from approvals.database import clock
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.delivery import addresses
from approvals.delivery.notifications import NotificationCarrier
from approvals.delivery.webhooks.messages import secrets_of, secrets_of_group
from approvals.domain.commands import Actor
from approvals.models import Destination, Notification, Preference
from approvals.writer import dispatches, notifications, outboxes
from tests import factories as make
from tests.approvals.delivery.webhooks.receiver import Posted, Receiver
from tests.mail_server import MailServer, mail_server, send_by_smtp
from tests.marks import both_databases
from tests.processes import PROJECT
from tests.told import look

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

URL = "https://sayso.example.com"
PROGRAM = Actor.program()


@pytest.fixture(autouse=True)
def telling(settings: Settings) -> Iterator[None]:
    settings.SAYSO_NOTIFY, settings.SAYSO_URL = "on", URL
    yield
    clock.move_back()


@pytest.fixture
def smtp(settings: Settings) -> Iterator[MailServer]:
    with mail_server() as server:
        send_by_smtp(settings, server.port)
        yield server


@pytest.fixture
def team(ada: User) -> Group:
    return make.group("finance", ada)


async def deliver() -> list[tuple[str, str]]:
    """Deliver once all that is due, several at a time; what was not sent, with the reason."""
    carrier = NotificationCarrier()
    claimed = await in_database(notifications.outbox.claim, 50)
    try:
        answers = await asyncio.gather(*[carrier.deliver(due) for due in claimed])
    finally:
        carrier.close()
    made = [
        outboxes.Attempt(due=due, seconds=0.0, answer=answer)
        for due, answer in zip(claimed, answers, strict=True)
    ]
    await in_database(notifications.outbox.record, made)
    return [(one.due.destination.kind, one.answer.error) for one in made if one.answer.error]


async def told(title: str = "Pay ACME", **terms: Any) -> str:
    """A request, and all that is to be told of it is written."""
    request = await in_database(lambda: make.approval(title, **terms))
    await in_database(look)
    return request


def rows(**which: Any) -> list[tuple[str, str, str]]:
    """What is told to whom, and by what."""
    found = Notification.objects.filter(**which).select_related("destination__user", "destination__group")
    return sorted((row.event, row.destination.owner, row.destination.kind) for row in found)


def passed(seconds: float) -> None:
    clock.move(timedelta(seconds=seconds))


def verify(posted: Posted, secrets: list[str]) -> Any:
    return Webhook(secrets[0]).verify(posted.body, posted.headers)


class TestTable:
    def test_a_destination_is_of_one_person_or_one_group(self, ada: User, team: Group) -> None:
        for whose in ({}, {"user": ada, "group": team}):
            with pytest.raises(IntegrityError), transaction.atomic():
                Destination.objects.create(kind="chat", address="x", **whose)
        with pytest.raises(IntegrityError), transaction.atomic():
            Destination.objects.create(kind="webhook", user=ada)

    @both_databases
    def test_addresses_are_stored_encrypted_and_read_by_former_keys_too(
        self, ada: User, settings: Settings
    ) -> None:
        secret = "https://hooks.example.org/?token=s3cret"
        row = make.destination(ada, "webhook", secret)
        stored = Destination.objects.get(pk=row.pk).address
        assert "s3cret" not in stored
        assert addresses.decrypt(stored) == secret
        settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another" * 10
        assert addresses.decrypt(stored) == secret
        settings.SECRET_KEY_FALLBACKS = []
        assert addresses.decrypt(stored) is None
        assert "can't be read" in addresses.abbreviate("webhook", stored)
        assert addresses.abbreviate("webhook", addresses.encrypt(secret)) == "https://hooks.example.org/…"


class TestWebhooks:
    @both_databases
    async def test_a_person_is_told_of_each_event_by_a_signed_message(
        self, ada: User, hook: Receiver, stack: object
    ) -> None:
        bob = await in_database(lambda: make.user("bob"))
        await in_database(lambda: make.destination(ada, "webhook", f"{hook.url}/told", label="pager"))
        terms: dict[str, Any] = {"arguments": {"order": 812, "amount": "12.00", "note": "long"}}
        request = await told(assignees=[ada], requester=bob, **terms)
        await deliver()
        (posted,) = hook.posted
        body = verify(posted, secrets_of(ada.pk))
        with pytest.raises(WebhookVerificationError):
            verify(posted, secrets_of(bob.pk))
        row = await in_database(Notification.objects.get, destination__kind="webhook")
        assert posted.message_id == str(row.pk)
        assert (row.status, row.attempts) == ("delivered", 1)
        asked = body["data"].pop("request")
        assert (body["type"], body["data"]) == ("request.opened", {"to": {"user": "ada"}})
        assert asked["id"] == request
        assert asked["url"] == f"{URL}/requests/{request}/"
        assert asked["arguments"] == {"order": "812", "amount": "12.00"}
        assert (asked["title"], asked["requester"], asked["status"]) == ("Pay ACME", "bob", "pending")

    async def test_what_was_said_and_how_it_ended_are_told_too(self, ada: User, hook: Receiver) -> None:
        bob = await in_database(lambda: make.user("bob"))
        await in_database(lambda: make.destination(ada, "webhook", hook.url))
        request = await told(assignees=[bob], requester=ada)
        await in_database(deciding.comment, make.actor(bob), request, "Why so much?", question=True)
        await in_database(deciding.decide, make.actor(bob), request, "reject", comment="Too much.")
        await in_database(look)
        await deliver()
        said = {posted.json["type"]: posted.json["data"] for posted in hook.posted}
        assert said["request.question"]["comment"] == {"by": "bob", "text": "Why so much?"}
        outcome = said["request.closed"]["outcome"]
        assert (outcome["status"], outcome["decided_by"]) == ("rejected", "bob")
        assert "comment" not in outcome

    @pytest.mark.parametrize(
        ("detail", "said"), [("title", set()), ("summary", {"arguments"}), ("full", {"arguments", "details"})]
    )
    async def test_how_much_it_says_is_a_setting(
        self, ada: User, hook: Receiver, settings: Settings, detail: str, said: set[str]
    ) -> None:
        settings.SAYSO_MESSAGE_DETAIL = detail
        await in_database(lambda: make.destination(ada, "webhook", hook.url))
        hidden = {"headers": {"Authorization": "Bearer s3cret"}}
        await told(assignees=[ada], arguments=hidden, details="*Once.*")
        await deliver()
        asked = hook.posted[0].json["data"]["request"]
        assert asked.keys() & {"arguments", "details"} == said
        assert "s3cret" not in json.dumps(asked)

    async def test_of_a_confidential_request_it_says_only_where_it_is(
        self, ada: User, hook: Receiver, settings: Settings
    ) -> None:
        settings.SAYSO_MESSAGE_DETAIL = "full"
        await in_database(lambda: make.destination(ada, "webhook", hook.url))
        request = await told("Dismiss Eve", requester=ada, assignees=[ada], confidential=True)
        bob = await in_database(lambda: make.reviewer("bob"))
        await in_database(deciding.reassign, make.actor(ada), request, ["bob"])
        await in_database(deciding.comment, make.actor(bob), request, "Why Eve?", question=True)
        await in_database(deciding.decide, make.actor(bob), request, "reject", comment="Not Eve.")
        await in_database(look)
        for _ in range(2):  # what is moot comes first
            await deliver()
        assert {posted.json["type"] for posted in hook.posted} >= {"request.question", "request.closed"}
        where = {"id": request, "url": f"{URL}/requests/{request}/", "confidential": True}
        for posted in hook.posted:
            assert posted.json["data"] == {"to": {"user": "ada"}, "request": where}

    async def test_the_document_shows_what_is_posted(self, team: Group, hook: Receiver) -> None:
        document = (PROJECT / "docs" / "api.md").read_text(encoding="utf-8")
        (block,) = re.findall(r"^<!-- told -->\n```json\n(.*?)^```$", document, re.DOTALL | re.MULTILINE)
        shown = json.loads(block)
        await in_database(lambda: make.destination(team, "webhook", hook.url))
        billing = await in_database(lambda: make.user("billing"))
        asked = shown["data"]["request"]
        terms: dict[str, Any] = {"arguments": asked["arguments"], "requester": billing}
        request = await told(asked["title"], assignees=[team], **terms)
        await deliver()
        posted = hook.posted[0].json
        theirs = {name: posted["data"]["request"][name] for name in ("opened_at", "deadline")}
        asked |= {"id": request, "url": f"{URL}/requests/{request}/", **theirs}
        assert posted == {**shown, "timestamp": posted["timestamp"]}

    async def test_it_goes_to_allowed_hosts_only_and_follows_redirects_to_no_others(
        self, ada: User, hook: Receiver
    ) -> None:
        elsewhere = f"{hook.url}/redirect/307?to=http://evil.example.com/"
        for address in ("http://evil.example.com/", elsewhere, f"{hook.url}/redirect/302?to={hook.url}/told"):
            await in_database(make.destination, ada, "webhook", address)
        await told(assignees=[ada])
        refused = dict.fromkeys(error for kind, error in await deliver() if kind == "webhook")
        assert len(refused) == 3
        first, second, third = refused
        assert first.startswith("address has a host that is none of those")
        assert second.startswith("A redirect to http://evil.example.com is refused.")
        assert third.startswith("A redirect by status 302 is not followed")
        assert {posted.path.split("?")[0] for posted in hook.posted} == {"/redirect/307", "/redirect/302"}

    async def test_a_pause_that_the_receiver_asks_for_is_kept(self, ada: User, hook: Receiver) -> None:
        hook.answers, hook.headers = [429], {"Retry-After": "900"}
        await in_database(lambda: make.destination(ada, "webhook", f"{hook.url}/told"))
        await told(assignees=[ada])
        await deliver()
        row = await in_database(Notification.objects.get, destination__kind="webhook")
        assert row.status == "waiting"
        assert row.due_at - row.changed_at >= timedelta(seconds=900)

    async def test_it_has_no_personal_link(self, ada: User, hook: Receiver, settings: Settings) -> None:
        """Programs and chats have other readers than the person."""
        settings.SAYSO_LINKS = "personal"
        await in_database(lambda: make.destination(ada, "webhook", hook.url))
        await told(assignees=[ada])
        await deliver()
        assert "/d/" not in hook.posted[0].body.decode()

    def test_receivers_that_hang_leave_room_for_mail(self, ada: User) -> None:
        for number in range(6):
            make.destination(ada, "webhook", f"https://hooks.example.org/{number}", events=["opened"])
        for _ in range(4):
            make.approval(assignees=[ada])
        look()
        passed(121)
        claimed = notifications.outbox.claim(50)
        busy = Counter(due.receiver for due in claimed)
        assert busy.pop(notifications.MAIL) == 4
        assert busy.total() == notifications.OTHERS_AT_ONCE
        assert max(busy.values()) == notifications.AT_ONE_RECEIVER
        under_way = Counter(due.receiver for due in claimed)
        assert notifications.outbox.claim(50, under_way) == []
        earliest, now = notifications.outbox.next_due(under_way)
        assert earliest is not None
        assert earliest > now


class TestUnreadable:
    @both_databases
    async def test_an_address_that_can_not_be_read_is_a_fault_of_that_destination_alone(
        self, ada: User, smtp: MailServer, stack: object
    ) -> None:
        pager = await in_database(lambda: make.destination(ada, "webhook", "https://hooks.example.org/"))
        await in_database(lambda: Destination.objects.filter(pk=pager.pk).update(address="not encrypted"))
        await told(assignees=[ada])
        ((kind, error),) = await deliver()
        assert (kind, error.split(":")[0]) == ("webhook", "The address can't be read")
        row = await in_database(Notification.objects.get, destination=pager)
        assert row.status == "given_up"
        await in_database(pager.refresh_from_db)
        assert pager.failing_since is not None
        assert await deliver() == []
        assert len(smtp.taken) == 1


class TestGroups:
    @both_databases
    def test_a_group_is_told_once_of_what_is_assigned_to_it(self, ada: User, team: Group) -> None:
        other = make.group("others", make.user("bob"))
        for group in (team, other):
            make.destination(group, "webhook", "https://hooks.example.org/")
        request = make.approval(assignees=[team])
        for _ in range(2):
            look()
        assert rows() == [("opened", "ada", "email"), ("opened", "finance", "webhook")]
        deciding.reassign(PROGRAM, request, groups=["finance", "others"])
        look()
        assert rows(event="reassigned") == [
            ("reassigned", "bob", "email"),
            ("reassigned", "others", "webhook"),
        ]

    def test_what_is_assigned_to_a_person_is_not_told_to_their_group(self, ada: User, team: Group) -> None:
        make.destination(team, "webhook", "https://hooks.example.org/")
        make.approval(assignees=[ada])
        look()
        assert rows() == [("opened", "ada", "email")]

    def test_what_is_assigned_to_nobody_is_told_to_groups_that_may_decide_it(self, team: Group) -> None:
        make.destination(team, "webhook", "https://hooks.example.org/")
        make.approval()
        look()
        assert rows() == []
        team.permissions.add(Permission.objects.get(codename="decide_humanrequest"))
        make.approval()
        look()
        assert ("opened", "finance", "webhook") in rows()

    @both_databases
    @pytest.mark.parametrize("meanwhile", ["decided", "handed on"])
    async def test_it_is_not_told_what_it_may_not_decide_any_more(
        self, ada: User, team: Group, hook: Receiver, meanwhile: str, stack: object
    ) -> None:
        await in_database(lambda: make.destination(team, "webhook", hook.url))
        request = await told(assignees=[team])
        if meanwhile == "decided":
            await in_database(deciding.decide, make.actor(ada), request, "approve")
        else:
            await in_database(lambda: deciding.reassign(PROGRAM, request, [make.user("bob").username]))
        await deliver()
        row = await in_database(Notification.objects.get, destination__group=team)
        assert row.status == "moot"
        assert hook.posted == []

    async def test_a_group_has_a_secret_of_its_own(self, team: Group, hook: Receiver) -> None:
        await in_database(lambda: make.destination(team, "webhook", hook.url))
        await told(assignees=[team])
        await deliver()
        body = verify(hook.posted[0], secrets_of_group(team.pk))
        assert body["data"]["to"] == {"group": "finance"}

    async def test_mail_to_a_group_names_it_and_can_not_be_unsubscribed_by_one_reader(
        self, team: Group, smtp: MailServer, settings: Settings
    ) -> None:
        """Nor has it a link that decides: it is for no one person."""
        settings.SAYSO_LINKS = "personal"
        await in_database(lambda: make.destination(team, "email", "team@example.org"))
        await told(assignees=[team])
        await deliver()
        (letter,) = [one for one in smtp.taken if one["To"] == "team@example.org"]
        assert letter["List-Unsubscribe"] is None
        assert "/d/" not in letter.as_string()
        assert "Sent to the group finance" in letter.get_body(("plain",)).get_content()  # type: ignore[attr-defined]

    def test_where_more_than_fifty_may_decide_only_groups_are_told(self, team: Group) -> None:
        team.user_set.add(*[make.user() for _ in range(50)])
        make.destination(team, "webhook", "https://hooks.example.org/")
        make.approval(assignees=[team])
        look()
        assert rows() == [("opened", "finance", "webhook")]


class TestChats:
    @pytest.fixture(autouse=True)
    def schemes(self, settings: Settings) -> None:
        settings.SAYSO_CHAT_SCHEMES, settings.SAYSO_LINKS = ["json"], "personal"

    async def test_a_line_names_the_request_and_the_link_leads_to_log_in(
        self, ada: User, team: Group, hook: Receiver
    ) -> None:
        for whose in (ada, team):
            address = f"json://127.0.0.1:{hook.port}/told"
            await in_database(make.destination, whose, "chat", address)
        request = await told("Refund\u202e", assignees=[team])
        await deliver()
        assert len(hook.posted) == 2
        for posted in hook.posted:
            assert posted.json["title"] == "Approve or reject: Refund［U+202E］"  # noqa: RUF001
            assert posted.json["message"] == f"{URL}/requests/{request}/"

    async def test_of_a_confidential_request_it_says_only_that_it_waits(
        self, team: Group, hook: Receiver
    ) -> None:
        address = f"json://127.0.0.1:{hook.port}/told"
        await in_database(lambda: make.destination(team, "chat", address))
        request = await told("Dismiss Eve", assignees=[team], confidential=True)
        await deliver()
        (posted,) = hook.posted
        assert posted.json["title"] == "Waits for you: a confidential request"
        assert posted.json["message"] == f"{URL}/requests/{request}/"

    async def test_what_is_too_much_for_an_hour_comes_as_one_line(
        self, team: Group, hook: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dispatches, "AN_HOUR", 0)
        address = f"json://127.0.0.1:{hook.port}/told"
        await in_database(lambda: make.destination(team, "chat", address))
        for _ in range(2):
            await told(assignees=[team], timeout=None)
        passed(3600)
        await deliver()
        (posted,) = hook.posted
        assert posted.json["title"] == "2 messages about requests within an hour"
        assert posted.json["message"] == f"{URL}/"


class TestQuiet:
    def test_a_daily_email_holds_back_no_webhook_and_quiet_hours_hold_back_both(self, ada: User) -> None:
        soon = (database_now() + timedelta(hours=3)).replace(second=0, microsecond=0)
        make.destination(ada, "webhook", "https://hooks.example.org/")
        chosen = Preference.objects.create(user=ada, digest_at=soon.time())
        make.approval(assignees=[ada], timeout=None)
        look()
        due = dict(Notification.objects.values_list("destination__kind", "due_at"))
        assert due["email"] == soon
        assert due["webhook"] <= database_now()
        before = (soon - timedelta(hours=9)).time()
        chosen.digest_at, chosen.quiet_from, chosen.quiet_until = None, before, soon.time()
        chosen.save()
        request = make.approval(assignees=[ada], timeout=None)
        look()
        night = Notification.objects.filter(request=request)
        assert night.get(destination__kind="webhook").due_at == soon
        assert night.get(destination__kind="email").due_at == soon + notifications.AFTER_OTHERS


class TestOneAfterTheOther:
    @both_databases
    async def test_mail_waits_where_a_webhook_was_told_and_has_no_point_once_it_is_decided(
        self, ada: User, team: Group, hook: Receiver, smtp: MailServer, stack: object
    ) -> None:
        await in_database(lambda: make.destination(team, "webhook", hook.url))
        first, second = await told("First", assignees=[team]), await told("Second", assignees=[team])
        await deliver()
        assert (len(hook.posted), smtp.taken) == (2, [])
        await in_database(deciding.decide, make.actor(ada), first, "approve")
        passed(121)
        await deliver()
        (letter,) = smtp.taken
        assert second in str(letter["References"])

    @both_databases
    async def test_it_goes_at_once_where_nobody_could_be_told_first(
        self, ada: User, hook: Receiver, smtp: MailServer, stack: object
    ) -> None:
        await in_database(lambda: make.destination(ada, "webhook", f"{hook.url}/status/503"))
        await told(assignees=[ada])
        assert await deliver() == [("webhook", "The receiver answered with status 503.")]
        assert await deliver() == []
        assert len(smtp.taken) == 1

    def test_it_does_not_wait_beyond_the_deadline(self, ada: User) -> None:
        make.destination(ada, "webhook", "https://hooks.example.org/")
        make.approval(assignees=[ada], timeout=100)
        look()
        row = Notification.objects.get(destination__kind="email")
        assert row.due_at == row.created_at


class TestTooMany:
    @both_databases
    async def test_after_two_hundred_in_an_hour_the_rest_comes_in_one_message_that_says_so(
        self, ada: User, smtp: MailServer, monkeypatch: pytest.MonkeyPatch, stack: object
    ) -> None:
        monkeypatch.setattr(dispatches, "AN_HOUR", 3)
        for number in range(3):
            await told(f"Pay {number}", assignees=[ada], timeout=None)
        for number in range(3, 6):
            await in_database(make.approval, f"Pay {number}", assignees=[ada], timeout=None)
        await in_database(look)
        await deliver()
        assert len(smtp.taken) == 3
        passed(3600)
        await deliver()
        (digest,) = smtp.taken[3:]
        assert digest["Subject"] == "Your digest: 3 messages about requests"
        said = digest.get_body(("plain",)).get_content()  # type: ignore[attr-defined]
        assert "more than 200 messages within an hour" in said
        assert "Pay 5" in said

    def test_what_ends_within_the_hour_comes_within_the_minute(
        self, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By the clock of half past, or the full hour would come before these ends, too."""
        monkeypatch.setattr(dispatches, "AN_HOUR", 0)
        passed((30 - database_now().minute) % 60 * 60)
        now = database_now()
        for timeout in (300, 300, 7_200):
            make.approval(assignees=[ada], timeout=timeout)
        look()
        rows = Notification.objects.filter(destination__kind="email").order_by("due_at")
        first, second, third = [row.digest for row in rows]
        assert now < first == second <= now + timedelta(minutes=1, seconds=30)
        assert (third.minute, third.second) == (0, 0)

    def test_programs_are_told_everything(self, ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dispatches, "AN_HOUR", 1)
        make.destination(ada, "webhook", "https://hooks.example.org/")
        for _ in range(4):
            make.approval(assignees=[ada])
        look()
        assert Notification.objects.filter(destination__kind="webhook", digest=None).count() == 4


class TestFailing:
    @both_databases
    async def test_since_when_a_destination_fails_is_noted_until_it_is_reached(
        self, ada: User, hook: Receiver, stack: object
    ) -> None:
        hook.answers = [500, 200]
        pager = await in_database(lambda: make.destination(ada, "webhook", f"{hook.url}/told"))
        await told(assignees=[ada])
        await deliver()
        await in_database(pager.refresh_from_db)
        assert pager.failing_since is not None
        passed(10)
        await deliver()
        await in_database(pager.refresh_from_db)
        assert pager.failing_since is None
