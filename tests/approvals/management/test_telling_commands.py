"""What was told, in the terminal, and a message that tests the way."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from pytest_django import Settings

from approvals.management.screen import Misuse, Refused
from tests import factories as make
from tests.mail_server import NEVER, MailServer, mail_server, send_by_smtp
from tests.told import give_up, told

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]


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
            "given up",
            "1",
            "Not <this> one.",
            str(failed.request_id),
        ]
        assert len(run("notifications", "--limit", "1", username="rita")[0].splitlines()) == 1

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
        assert said.strip() == "The mail server has taken a message to ann@example.org."
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
        with pytest.raises(Refused, match="554"):
            run("notify_test", "ann")
