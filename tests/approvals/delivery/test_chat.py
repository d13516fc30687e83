"""Messages to chats by apprise: to services that the installation lists, by the address as it stands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from os import environ
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from approvals.delivery import chat
from approvals.delivery.messages import ChatMessage
from tests.approvals.delivery.webhooks.receiver import NEVER, Receiver, receiver
from tests.effort import SHARED_FIXTURES, effort

MESSAGE = ChatMessage(
    heading="Approve or reject", title="Pay ACME", link="https://sayso.example.com/requests/1/"
)


@pytest.fixture(autouse=True)
def schemes(settings: Settings) -> None:
    settings.SAYSO_CHAT_SCHEMES = ["json", "ntfy"]


@pytest.fixture
def service() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def sender() -> Iterator[chat.ChatSender]:
    running = chat.ChatSender()
    yield running
    running.close()


def address(service: Receiver, path: str = "told", query: str = "") -> str:
    return f"json://127.0.0.1:{service.port}/{path}{query}"


def test_a_message_has_fixed_words_the_title_and_a_link(service: Receiver) -> None:
    assert chat.send(address(service), MESSAGE).error == ""
    (posted,) = service.posted
    assert posted.json["title"] == "Approve or reject: Pay ACME"
    assert posted.json["message"] == MESSAGE.link


def test_another_service_gets_it_in_its_own_form(service: Receiver) -> None:
    chat.send(f"ntfy://127.0.0.1:{service.port}/approvals", MESSAGE)
    (posted,) = service.posted
    assert posted.json["topic"] == "approvals"


def test_a_title_calls_nobody_and_makes_no_link(service: Receiver) -> None:
    """Chats read such marks in what somebody else wrote."""
    title = "<!channel> @everyone [Approve](https://evil.example.com) <a href=x>"
    chat.send(address(service), ChatMessage(heading="Approve or reject", title=title, link=MESSAGE.link))
    assert not set("<>@[]") & set(service.posted[0].json["title"])


async def test_what_a_service_answers_is_on_record_without_its_text(
    service: Receiver, sender: chat.ChatSender
) -> None:
    service.answers = [429, 503, 404]
    answers = [await sender.send(address(service), MESSAGE) for _ in range(3)]
    assert [(one.status_code, one.final) for one in answers] == [(429, False), (503, False), (404, True)]
    assert answers[0].error == "The chat answered with status 429."


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(service: Receiver, status: int) -> None:
    with receiver() as elsewhere:
        query = f"?-to={elsewhere.url}/told"
        answer = chat.send(address(service, f"redirect/{status}", query), MESSAGE)
        assert answer.error
        assert elsewhere.posted == []
    assert len(service.posted) == 1


async def test_one_that_hangs_is_given_up_for_now(
    service: Receiver, sender: chat.ChatSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "READING", 0.1)
    service.answers = [NEVER]
    assert "could not be reached" in (await sender.send(address(service), MESSAGE)).error
    monkeypatch.setattr(chat, "LONGEST", 0.2)
    dripping = await sender.send(address(service, "dripping_body"), MESSAGE)
    assert dripping.error == chat.TOO_SLOW


def test_one_that_is_not_there_is_said(service: Receiver) -> None:
    assert "could not be reached" in chat.send("json://127.0.0.1:1/", MESSAGE).error


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("slack://TokenA/TokenB/TokenC", "must begin with one of json://, ntfy:// (SAYSO_CHAT_SCHEMES)"),
        ("https://hooks.example.org/", "must begin with one of"),
        ("no address", "must begin with one of"),
        ("json://[", "is no address"),
        ("json://host/?redirect=yes", "must not have the parameter redirect"),
        ("json://host/?REDIRECT=yes", "must not have the parameter redirect"),
        ("json://host/?rto=9999", "must not have the parameter rto"),
        ("json://host/?verify=no", "must not have the parameter verify"),
        ("json://", "is none that the service understands"),
        ("json://host/", None),
    ],
)
def test_an_address_that_breaks_a_rule_is_refused_with_the_rule(given: str, fault: str | None) -> None:
    found = chat.fault_of(given)
    assert found is None if fault is None else (found or "").startswith(fault)
    if fault:
        assert chat.send(given, MESSAGE).final


@effort(20, allowed=(SHARED_FIXTURES,))
@given(
    letters=st.lists(
        st.sampled_from([str.lower, str.upper, lambda one: f"%{ord(one):02x}"]), min_size=8, max_size=8
    ),
    before=st.sampled_from(["", "a=b&", "redirect&"]),
)
def test_that_redirects_are_followed_can_not_be_asked_for_in_any_spelling(
    letters: list[Callable[[str], str]], before: str
) -> None:
    name = "".join(spell(one) for spell, one in zip(letters, "redirect", strict=True))
    assert chat.fault_of(f"json://host/?{before}{name}=yes") == "must not have the parameter redirect"


@pytest.mark.parametrize(
    "service",
    [
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/",
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js/",
        "tgram://123456789:abcdefg_hijklmnop/12315544/",
        "workflows://host/workflow/signature/",
    ],
)
@pytest.mark.parametrize("name", ["template", "Template", "%74emplate", "%20template"])
def test_no_file_or_page_that_the_server_can_read_becomes_part_of_a_message(
    settings: Settings, tmp_path: Path, service: str, name: str
) -> None:
    settings.SAYSO_CHAT_SCHEMES = ("slack", "discord", "tgram", "workflows")
    (tmp_path / "secret.json").write_text("{}")
    assert chat.fault_of(service) is None
    fault = chat.fault_of(f"{service}?{name}={tmp_path}/secret.json")
    assert fault == "must not have the parameter template"


def test_every_service_that_is_listed_by_default_is_one_of_apprise() -> None:
    import apprise

    from approvals.conf import CHAT_SCHEMES

    known = {scheme for one in apprise.Apprise().details()["schemas"] for scheme in _schemes(one)}
    assert set(CHAT_SCHEMES) <= known


def _schemes(service: dict[str, list[str] | None]) -> list[str]:
    return [*(service["protocols"] or ()), *(service["secure_protocols"] or ())]


@pytest.mark.processes
def test_nothing_of_it_is_imported_before_a_chat_is_written_to() -> None:
    """It takes a second and 30 MB."""
    setup = "import django, sys; django.setup(); import approvals.delivery.trials"
    code = f"{setup}; print('apprise' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
    )
    assert done.stdout.strip() == "False"
