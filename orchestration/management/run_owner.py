"""Find out who owns a run that is started in a terminal."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User

from approvals.management.installation import is_embedded
from approvals.management.people import acting_person, computer_user, default_person
from approvals.management.screen import Screen


def owner_of_run(username: str | None, screen: Screen) -> User:
    """Return the person of this name, or the account of this computer's user.

    On an embedded installation the user owns the database, so a missing account is created. It can't sign in
    until it is given a password.
    """
    if username is None and is_embedded() and default_person() is None:
        name = computer_user()
        if name and not get_user_model()._default_manager.filter(username=name).exists():
            return _create_account(name, screen)
    return acting_person(username)


def _create_account(name: str, screen: Screen) -> User:
    person = get_user_model()._default_manager.create_user(username=name)
    screen.say(
        f"Created the account {name!r} for you. To sign in on the pages: manage.py changepassword {name}",
        style="dim",
    )
    return person
