"""Guessing passwords is slow, and does not lock out whose password is guessed."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from approvals.models import Letter
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

FORMS = ("/accounts/login/", "/admin/login/", "/log-in/")


@pytest.fixture(autouse=True)
def few_attempts(settings: Settings) -> None:
    """Three on a name, nine from an address."""
    settings.SAYSO_LOGIN_RATE_LIMIT = 3.0


@pytest.fixture
def ada() -> User:
    return factories.user("ada", password="right", is_staff=True)


def attempt(
    name: str,
    password: str,
    *,
    address: str = "192.0.2.1",
    client: Client | None = None,
    form: str = FORMS[0],
) -> Any:
    """What the form answers."""
    said = {"username": name, "password": password}
    return (client or Client()).post(form, said, REMOTE_ADDR=address)


@pytest.mark.parametrize("form", FORMS)
def test_a_name_can_be_guessed_at_a_few_times_only(ada: User, form: str) -> None:
    """From however many addresses, and however the name is written."""
    answers = [
        attempt(name, "wrong", address=f"192.0.2.{number}", form=form).status_code
        for number, name in enumerate(["ada", "Ada", " ada ", "ada"])
    ]
    assert answers == [200, 200, 200, 429]
    assert attempt("ada", "right", address="192.0.2.9", form=form).status_code == 429
    assert attempt("bob", "wrong", address="192.0.2.9", form=form).status_code == 200


def test_an_address_can_guess_at_a_few_names_only(ada: User) -> None:
    """What is refused for its address is not held against the name."""
    answers = [attempt(f"person{number}", "wrong").status_code for number in range(10)]
    assert answers == [200] * 9 + [429]
    assert [attempt("ada", "wrong").status_code for _ in range(5)] == [429] * 5
    assert attempt("ada", "right", address="192.0.2.2").status_code == 302


def test_the_answer_says_when_to_try_again() -> None:
    refused = [attempt("ada", "wrong") for _ in range(4)][-1]
    assert 0 < int(refused["Retry-After"]) <= 20
    assert f"try again in {refused['Retry-After']} s" in refused.content.decode()


def test_attempts_that_succeed_do_not_count(ada: User) -> None:
    assert [attempt("ada", "right").status_code for _ in range(20)] == [302] * 20


@pytest.mark.parametrize("form", FORMS)
def test_a_stranger_who_guesses_does_not_lock_out_who_has_logged_in_before(ada: User, form: str) -> None:
    known = Client()
    attempt("ada", "right", client=known, form=form)
    known.post("/accounts/logout/")
    for _ in range(4):
        attempt("ada", "wrong", address="192.0.2.2")
    assert attempt("ada", "right", address="192.0.2.3").status_code == 429
    assert attempt("ada", "right", client=known, form=form).status_code == 302


def test_a_known_browser_is_known_for_its_own_name_and_guesses_no_faster(ada: User) -> None:
    factories.user("bob", password="else")
    known = Client()
    attempt("ada", "right", client=known)
    known.post("/accounts/logout/")
    for _ in range(3):
        attempt("bob", "wrong", address="192.0.2.2")
    assert attempt("bob", "else", client=known, address="192.0.2.3").status_code == 429
    answers = [attempt("ada", "wrong", client=known, address=f"192.0.3.{n}").status_code for n in range(4)]
    assert answers == [200, 200, 200, 429]


def test_a_forged_cookie_makes_no_browser_known(ada: User) -> None:
    forger = Client()
    for number in range(3):
        forger.cookies["sayso_known"] = f"ada:{number}:forged"
        attempt("ada", "wrong", client=forger)
    forger.cookies["sayso_known"] = "ada:3:forged"
    assert attempt("ada", "wrong", client=forger).status_code == 429


def test_who_is_logged_in_guesses_no_faster(ada: User) -> None:
    """Somebody without the right to the admin gets its login form, logged in or not."""
    factories.user("mallory", password="own")
    client = Client()
    attempt("mallory", "own", client=client)
    answers = [attempt("ada", "wrong", client=client, form="/admin/login/").status_code for _ in range(4)]
    assert answers == [200, 200, 200, 429]


@pytest.mark.parametrize("form", ["/accounts/password/", "/admin/password_change/"])
def test_the_old_password_of_a_session_can_be_guessed_at_a_few_times_only(ada: User, form: str) -> None:
    """From however many sessions and addresses; a new password that is refused is no way around."""
    sessions = [Client() for _ in range(4)]
    for session in sessions:
        session.force_login(ada)
    answers = [
        change_password(session, old, form, address=f"192.0.2.{number}").status_code
        for number, (session, old) in enumerate(zip(sessions, ["a", "b", "c", "right"], strict=True))
    ]
    assert answers == [200, 200, 200, 429]
    assert attempt("ada", "right", address="192.0.2.9").status_code == 302
    own = Client()
    own.force_login(factories.user("bob", password="else", is_staff=True))
    assert change_password(own, "else", form, address="192.0.2.9").status_code == 302


def test_passwords_that_are_changed_do_not_count(ada: User) -> None:
    client = Client()
    client.force_login(ada)
    old = "right"
    for number in range(5):
        new = f"another-long-secret-{number}"
        assert change_password(client, old, new=new).status_code == 302
        old = new


def change_password(
    client: Client,
    old: str,
    form: str = "/accounts/password/",
    *,
    address: str = "192.0.2.1",
    new: str = "another-long-secret",
) -> Any:
    said = {"old_password": old, "new_password1": new, "new_password2": new}
    return client.post(form, said, REMOTE_ADDR=address)


def test_nobody_is_flooded_with_mail(ada: User, settings: Settings) -> None:
    settings.SAYSO_URL = "https://sayso.example.com"
    ada.email = "ada@example.org"
    ada.save()
    asked = [
        Client().post("/accounts/reset/", {"email": "ada@example.org"}, REMOTE_ADDR=f"192.0.2.{number}")
        for number in range(5)
    ]
    assert [response.status_code for response in asked] == [302] * 3 + [429] * 2
    assert Letter.objects.count() == 1
