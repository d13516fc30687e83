"""People are told by real servers through a real mail server, once each, whatever dies in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from approvals import deciding
from approvals.database.clock import database_now
from approvals.domain.commands import Actor
from approvals.models import Notification, NotificationStatus, Watch
from tests import factories as make
from tests.conftest import Serve
from tests.mail_server import MailServer, mail_server
from tests.processes import Server

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(180)]

Teller = Callable[..., Server]


@pytest.fixture(autouse=True)
def telling(settings: Settings) -> None:
    """This process asks; servers tell."""
    settings.SAYSO_NOTIFY = "on"


@pytest.fixture
def smtp() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def teller(serve: Serve, smtp: MailServer) -> Teller:
    """Start a server that tells people by this mail server."""
    told = {"SAYSO_NOTIFY": "on", "SAYSO_URL": "https://sayso.example.com", "EMAIL_URL": smtp.url}
    return lambda **environment: serve(**told, **environment)


@pytest.fixture
def people() -> list[User]:
    return [make.user(name, email=f"{name}@example.org") for name in ("ada", "bob", "cleo")]


def claims_are_over() -> None:
    """What a dead process had claimed is due, before another starts."""
    now = database_now()
    Watch.writing.exclude(due_at=None).update(due_at=now)
    Notification.writing.filter(status=NotificationStatus.WAITING).update(due_at=now, changed_at=now)


def until_settled(number: int) -> None:
    """All notifications of so many are sent, or have no point any more."""
    while (
        Notification.objects.filter(status__in=("delivered", "moot")).count() < number
        or Watch.objects.exclude(claimed_until=None).exists()
    ):
        pass


@pytest.mark.parametrize("died", ["watches-claimed", "notifications-written", "notification-claimed"])
def test_a_server_that_is_killed_on_the_way_costs_nobody_a_message_and_tells_nobody_twice(
    teller: Teller, smtp: MailServer, people: list[User], died: str
) -> None:
    faults = {"DJANGO_SETTINGS_MODULE": "tests.faults.settings"}
    dying = teller(**faults, SAYSO_TEST_FAILPOINTS=f'{{"{died}": "kill"}}')
    make.approval("Pay", assignees=people)
    dying.wait()
    claims_are_over()
    teller()
    until_settled(3)
    assert Counter(letter["To"] for letter in smtp.taken) == {f"{person}@example.org": 1 for person in people}


@pytest.mark.one_stack
def test_a_server_that_is_killed_before_it_noted_what_was_sent_repeats_it_under_the_same_name(
    teller: Teller, smtp: MailServer, people: list[User]
) -> None:
    faults = {"DJANGO_SETTINGS_MODULE": "tests.faults.settings"}
    dying = teller(**faults, SAYSO_TEST_FAILPOINTS='{"message-sent": "kill"}')
    make.approval("Pay", assignees=people[:1])
    dying.wait()
    claims_are_over()
    teller()
    until_settled(1)
    assert len(smtp.taken) == 2
    assert len({letter["Message-ID"] for letter in smtp.taken}) == 1


@pytest.mark.stacks("postgresql-redis")
def test_two_servers_tell_each_once(teller: Teller, smtp: MailServer, people: list[User]) -> None:
    teller(), teller()
    for _ in range(30):
        make.approval("Pay", assignees=people)
    until_settled(90)
    told = Counter((letter["To"], letter["References"]) for letter in smtp.taken)
    assert len(told) == 90
    assert set(told.values()) == {1}


@pytest.mark.one_stack
def test_what_was_asked_while_no_server_ran_is_told_when_one_does_unless_it_is_closed(
    teller: Teller, smtp: MailServer, people: list[User]
) -> None:
    make.approval("Open", assignees=people)
    deciding.withdraw(Actor.program(), make.approval("Closed", assignees=people))
    teller()
    until_settled(3)
    assert {letter["Subject"] for letter in smtp.taken} == {"Approve or reject: Open"}
