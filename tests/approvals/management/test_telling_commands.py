"""What was told, in the terminal, and a message that tests the way."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.core.management import call_command
from pytest_django import Settings
from standardwebhooks import Webhook

from approvals.database.clock import database_now
from approvals.delivery.webhooks.messages import secrets_of, secrets_of_group
from approvals.management.screen import Misuse, Refused
from approvals.models import Destination
from tests import factories as make
from tests.approvals.delivery.webhooks.receiver import Posted, Receiver
from tests.mail_server import NEVER, MailServer, mail_server, send_by_smtp
from tests.told import give_up, look, told

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]


def verify(posted: Posted, secrets: Sequence[str]) -> None:
    """It is signed with the first of these."""
    Webhook(secrets[0]).verify(posted.body, posted.headers)


@pytest.fixture(autouse=True)
def telling(settings: Settings) -> None:
    settings.SAYSO_NOTIFY, settings.SAYSO_URL = "on", "https://sayso.example.com"


@pytest.fixture
def smtp(settings: Settings) -> Iterator[MailServer]:
    with mail_server() as server:
        send_by_smtp(settings, server.port)
        yield server


def run(*arguments: str, **options: Any) -> tuple[str, str]:
    """Standard output and error where there is no terminal."""
    output, error = io.StringIO(), io.StringIO()
    call_command(*arguments, stdout=output, stderr=error, **options)
    return output.getvalue(), error.getvalue()


class TestNotifications:
    def test_the_newest_comes_first_and_what_failed_alone_if_asked_for(self) -> None:
        rita = make.user("rita", may=("view_humanrequest",))
        failed = told("Refund", assignees=[make.user("ann")])
        give_up(failed)
        told("Later", assignees=[make.user("bob")])
        listed, _ = run("notifications", username=rita.username)
        assert [line.split("\t")[2] for line in listed.splitlines()] == ["bob", "ann"]
        (line,) = run("notifications", "--failed", username="rita")[0].splitlines()
        assert line.split("\t")[1:] == [
            "opened",
            "ann",
            "email",
            "given up",
            "1",
            "Not <this> one.",
            str(failed.request_id),
        ]
        assert len(run("notifications", "--limit", "1", username="rita")[0].splitlines()) == 1

    def test_addresses_that_fail_are_named(self) -> None:
        rita, ann = make.user("rita", may=("view_humanrequest",)), make.user("ann")
        told("Refund", assignees=[ann])
        pager = make.destination(ann, "webhook", "https://hooks.example.org/", label="pager")
        Destination.objects.filter(pk=pager.pk).update(failing_since=database_now())
        assert run("notifications", "--failed", username=rita.username) == ("", "")
        make.approval("Later", assignees=[ann])
        look()
        _, named = run("notifications", "--failed", username=rita.username)
        assert re.fullmatch(r"Failing since .+: webhook 'pager' of ann\.\n", named)

    def test_what_one_may_not_see_is_not_listed(self) -> None:
        told("Foreign", assignees=[make.user("ann")])
        make.user("rita")
        assert run("notifications", username="rita")[0] == ""

    def test_an_impossible_limit_is_misuse(self) -> None:
        with pytest.raises(Misuse, match="--limit must be from 1 to"):
            run("notifications", "--limit", "0")


class TestNotifyTest:
    def test_a_person_is_sent_a_message_with_the_way_to_their_preferences(
        self, smtp: MailServer, settings: Settings
    ) -> None:
        make.user("ann", email="ann@example.org")
        said, warned = run("notify_test", "ann")
        assert said.strip() == "email ann@example.org: taken."
        assert warned == ""
        (letter,) = smtp.wait_for(1)
        assert "https://sayso.example.com/preferences/" in letter.get_payload()
        settings.SAYSO_NOTIFY = "off"
        assert "SAYSO_NOTIFY is off" in run("notify_test", "ann")[1]

    def test_what_is_missing_is_said(self, smtp: MailServer, settings: Settings) -> None:
        make.user("bob")
        with pytest.raises(Misuse, match="has no email address"):
            run("notify_test", "bob")
        settings.SAYSO_URL = ""
        with pytest.raises(Misuse, match="SAYSO_URL is not set"):
            run("notify_test", "bob")

    def test_what_the_mail_server_refuses_is_told(self, smtp: MailServer) -> None:
        make.user("ann", email="ann@example.org")
        smtp.answers = [NEVER]
        output, error = io.StringIO(), io.StringIO()
        with pytest.raises(Refused, match="could not be sent"):
            call_command("notify_test", "ann", stdout=output, stderr=error)
        assert "554" in error.getvalue()

    def test_each_address_of_a_person_is_tried_and_each_of_a_group(
        self, smtp: MailServer, hook: Receiver, settings: Settings
    ) -> None:
        settings.SAYSO_CHAT_SCHEMES = ["json"]
        ann, team = make.user("ann", email="ann@example.org"), make.group("team")
        make.destination(ann, "webhook", f"{hook.url}/told", label="pager")
        make.destination(ann, "chat", f"{hook.url.replace('http', 'json')}/told")
        make.destination(team, "webhook", f"{hook.url}/status/500")
        said, _ = run("notify_test", "ann")
        assert said.splitlines() == [
            "email ann@example.org: taken.",
            f"webhook pager {hook.url}/…: taken.",
            "chat json://…: taken.",
        ]
        webhook, chat = hook.wait_for(2)
        verify(webhook, secrets_of(ann.pk))
        assert webhook.json["type"] == "test"
        assert "https://sayso.example.com/" in chat.json["message"]
        with pytest.raises(Refused):
            run("notify_test", "--group", "team")
        verify(hook.posted[2], secrets_of_group(team.pk))
        with pytest.raises(Misuse, match="There is no group 'crew'"):
            run("notify_test", "--group", "crew")


class TestSecrets:
    def test_the_secret_of_a_group_is_printed_alone(self) -> None:
        team = make.group("team")
        assert run("webhook_secret", "--group", "team")[0].split() == secrets_of_group(team.pk)
        with pytest.raises(Misuse, match="There is no group 'crew'"):
            run("webhook_secret", "--group", "crew")
        with pytest.raises(Misuse, match="Name one account"):
            run("webhook_secret", "--group", "team", "--installation")
