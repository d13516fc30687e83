"""Another mail address of one's own counts once the code that was sent to it was entered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from approvals import queries
from approvals.database import clock
from approvals.database.threads import in_database
from approvals.delivery import addresses
from approvals.delivery.letters import LetterCarrier
from approvals.models import Destination, Letter, NewAddress
from approvals.web.edge import preferences
from approvals.writer import emails, new_addresses, outboxes
from tests import factories as make
from tests.clients import client_of, text
from tests.mail_server import MailServer, mail_server, send_by_smtp
from tests.marks import both_databases

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

PREFERENCES = "/preferences/"
ADD, ENTER = f"{PREFERENCES}addresses/", f"{PREFERENCES}addresses/code/"
SAID = {"address": "ann@home.example.org", "label": "home", "events": ["opened"]}


@pytest.fixture(autouse=True)
def telling(settings: Settings) -> Iterator[None]:
    settings.SAYSO_NOTIFY, settings.SAYSO_URL = "on", "https://sayso.example.com"
    yield
    clock.move_back()


@pytest.fixture
def ann() -> User:
    return make.user("ann", email="ann@example.org")


@pytest.fixture
def client(ann: User) -> Client:
    return client_of(ann)


@pytest.fixture
def smtp(settings: Settings) -> Iterator[MailServer]:
    with mail_server() as server:
        send_by_smtp(settings, server.port)
        yield server


async def deliver() -> list[str]:
    """Deliver the letters that are due; what was not sent, with the reason."""
    carrier = LetterCarrier()
    made = [
        outboxes.Attempt(due=due, seconds=0.0, answer=await carrier.deliver(due))
        for due in await in_database(emails.outbox.claim, 10)
    ]
    carrier.close()
    await in_database(emails.outbox.record, made)
    return [attempt.answer.error for attempt in made if attempt.answer.error]


def sent_code(ann: User) -> str:
    """The code of the letter that is sent now."""
    issued = new_addresses.issue(ann.pk)
    assert issued is not None
    return issued[1]


def told_at(ann: User) -> list[str | None]:
    return [addresses.decrypt(one.address) for one in queries.destinations_of(ann.pk)]


@both_databases
async def test_an_address_is_told_from_when_its_code_was_entered(
    client: Client, ann: User, smtp: MailServer, stack: object
) -> None:
    assert (await in_database(client.post, ADD, SAID)).status_code == 303
    assert await in_database(told_at, ann) == []
    assert await deliver() == []
    (letter,) = smtp.taken
    assert letter["To"] == "ann@home.example.org"
    said = letter.get_body(("plain",)).get_content()  # type: ignore[attr-defined]
    (code,) = re.findall(r"\b\d{4} \d{4}\b", said)
    page = await in_database(client.get, PREFERENCES)
    assert "A code is sent to ann@home.example.org" in text(page)
    assert (await in_database(client.post, ENTER, {"code": f" {code}"})).status_code == 303
    (row,) = await in_database(queries.destinations_of, ann.pk)
    assert (row.kind, row.label, row.events, row.to_greet) == ("email", "home", ["opened"], True)
    assert addresses.decrypt(row.address) == "ann@home.example.org"
    assert not await in_database(NewAddress.objects.exists)


def test_no_table_has_the_code_or_the_address(client: Client, ann: User) -> None:
    client.post(ADD, SAID)
    code = sent_code(ann)
    stored = str(NewAddress.objects.values().get())
    assert code not in stored
    assert "home.example" not in stored


def test_a_wrong_code_is_refused_and_five_are_the_end_of_it(client: Client, ann: User) -> None:
    client.post(ADD, SAID)
    assert "Code has not been sent yet" in text(client.post(ENTER, {"code": "12345678"}), 422)
    code = sent_code(ann)
    wrong = str((int(code) + 1) % 10**8).zfill(8)
    refused = [text(client.post(ENTER, {"code": wrong}), 422) for _ in range(5)]
    assert "4 tries are left" in refused[0]
    assert "1 try is left" in refused[3]
    assert "have another one sent" in refused[4]
    assert "none of them right" in text(client.post(ENTER, {"code": code}), 422)
    assert told_at(ann) == []
    client.post(ENTER, {"code": sent_code(ann)})
    assert told_at(ann) == ["ann@home.example.org"]


def test_a_code_ends_after_half_an_hour_and_with_the_next(client: Client, ann: User) -> None:
    client.post(ADD, SAID)
    first = sent_code(ann)
    clock.move(timedelta(minutes=31))
    assert "must be entered within 30 minutes" in text(client.post(ENTER, {"code": first}), 422)
    old, new = sent_code(ann), sent_code(ann)
    assert client.post(ENTER, {"code": old}).status_code == 422
    assert client.post(ENTER, {"code": new}).status_code == 303


def test_a_code_is_for_one_address_and_one_person(client: Client, ann: User) -> None:
    client.post(ADD, SAID)
    code = sent_code(ann)
    bob = client_of(make.user("bob"))
    bob.post(ADD, SAID)
    sent_code(User.objects.get(username="bob"))
    assert bob.post(ENTER, {"code": code}).status_code == 422
    client.post(ADD, {**SAID, "address": "other@example.org"})
    assert client.post(ENTER, {"code": code}).status_code == 422
    assert not Destination.objects.exists()


def test_five_codes_are_sent_in_an_hour(client: Client, ann: User) -> None:
    client.post(ADD, SAID)
    for _ in range(5):
        assert Letter.objects.filter(user=ann).count() <= 5
        Letter.writing.update(status="delivered", due_at=None)
        last = client.post(f"{ADD}another-code/")
    assert "5 in an hour are the most" in text(last, 422)
    assert "5 in an hour are the most" in text(client.post(ADD, SAID), 422)
    clock.move(timedelta(minutes=61))
    assert client.post(f"{ADD}another-code/").status_code == 303


def test_a_code_that_waits_for_the_mail_server_is_one_of_five(client: Client, ann: User) -> None:
    client.post(ADD, SAID)
    answers = [client.post(f"{ADD}another-code/").status_code for _ in range(6)]
    assert answers == [303, 303, 303, 303, 422, 422]
    assert Letter.objects.filter(user=ann).count() == 5


@both_databases
async def test_an_address_that_replaces_another_gets_its_code_though_the_others_is_under_way(
    client: Client, smtp: MailServer, stack: object
) -> None:
    await in_database(client.post, ADD, SAID)
    carrier = LetterCarrier()
    (due,) = await in_database(emails.outbox.claim, 10)
    answer = await carrier.deliver(due)
    carrier.close()
    await in_database(client.post, ADD, {**SAID, "address": "other@example.org"})
    await in_database(emails.outbox.record, [outboxes.Attempt(due=due, seconds=0.0, answer=answer)])
    assert await deliver() == []
    assert [letter["To"] for letter in smtp.taken] == ["ann@home.example.org", "other@example.org"]


async def test_another_attempt_has_another_code_and_is_another_message(
    client: Client, smtp: MailServer, stack: object
) -> None:
    """Mail programs show only one of two with the same id, perhaps the one that counts no more."""
    await in_database(client.post, ADD, SAID)
    carrier = LetterCarrier()
    (due,) = await in_database(emails.outbox.claim, 10)
    await carrier.deliver(due)
    await carrier.deliver(due)
    carrier.close()
    assert len({letter["Message-ID"] for letter in smtp.taken}) == 2


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("ann", "Email address must be one, such as ann@example.org."),
        ("Ann@Example.org", "Email address must be another one: you are told there already."),
        ("a@b.example\nBcc: c@d.example", "Email address must be one"),
        ("ann@exam\u202eple.org", "Address must have a domain that is one."),
        ('"ann\x0bBcc: c"@example.org', "Email address must be one"),
        ('"a\x01nn"@example.org', "Address "),
    ],
)
def test_what_is_no_new_address_is_refused_at_its_field(client: Client, address: str, rule: str) -> None:
    assert rule in text(client.post(ADD, {**SAID, "address": address}), 422)
    assert not NewAddress.objects.exists()


def test_one_has_five_at_most(client: Client, ann: User) -> None:
    for number in range(5):
        make.destination(ann, "email", f"ann{number}@example.org")
    assert "must not be one more" in text(client.post(ADD, SAID), 422)


async def test_one_that_was_cancelled_gets_no_code(
    client: Client, ann: User, smtp: MailServer, stack: object
) -> None:
    await in_database(client.post, ADD, SAID)
    await in_database(client.post, f"{ADD}drop/")
    assert await deliver() == ["No address waits for a code any more."]
    assert smtp.taken == []
    assert "Send a code" in text(await in_database(client.get, PREFERENCES))


def test_where_people_are_not_told_none_is_added(client: Client, settings: Settings) -> None:
    settings.SAYSO_NOTIFY = "off"
    assert "Add an email address" not in text(client.get(PREFERENCES))
    client.post(ADD, SAID)
    assert not NewAddress.objects.exists()


def test_one_that_is_added_while_people_are_not_told_is_not_new_later(
    client: Client, ann: User, settings: Settings
) -> None:
    client.post(ADD, SAID)
    code = sent_code(ann)
    settings.SAYSO_NOTIFY = "off"
    client.post(ENTER, {"code": code})
    assert told_at(ann) == ["ann@home.example.org"]
    assert not Destination.objects.filter(to_greet=True).exists()


def test_where_no_address_waits_nothing_is_said_to_be_saved(client: Client) -> None:
    assert client.post(ENTER, {"code": "12345678"})["Location"] == PREFERENCES


def test_administrators_do_not_put_another_in_its_place(ann: User) -> None:
    row = make.destination(ann, "email", "ann@home.example.org")
    admin = client_of(make.user("root", is_staff=True, is_superuser=True))
    path, said = f"/admin/approvals/destination/{row.pk}/change/", {"label": "home", "events": ["opened"]}
    assert "must be left empty" in text(admin.post(path, {**said, "address": "eve@example.org"}), 422)
    assert told_at(ann) == ["ann@home.example.org"]
    assert admin.post(path, said).status_code == 302


def test_it_goes_with_what_is_known_of_the_person(client: Client, ann: User) -> None:
    client.post(ADD, SAID)
    preferences.forget(ann.pk)
    assert not NewAddress.objects.exists()
