"""Whose run a terminal starts."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User

from approvals.management.installation import is_embedded
from approvals.management.people import acting_person, computer_user, default_person
from approvals.management.screen import Screen


def owner_of_run(username: str | None, screen: Screen) -> User:
    """The person named, or the one that this computer's user must be.

    On an embedded installation whoever runs the command owns the database, so an account that is missing is
    made: it can sign in nowhere until it is given a password.
    """
    if username is None and is_embedded() and default_person() is None:
        name = computer_user()
        if name and not get_user_model()._default_manager.filter(username=name).exists():
            return _create_account(name, screen)
    return acting_person(username)


def _create_account(name: str, screen: Screen) -> User:
    person = get_user_model()._default_manager.create_user(username=name)
    screen.say(
        f"Made the account {name!r} for you. To sign in on the page: manage.py changepassword {name}",
        style="dim",
    )
    return person
