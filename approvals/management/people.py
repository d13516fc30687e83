"""Who acts in a command: the account named by `--as`, or the default one."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet

from approvals.domain.commands import Actor, Channel
from approvals.management.screen import Misuse
from approvals.queries.account_names import name_field

_NAMED_AT_MOST = 10


def add_as_option(parser: ArgumentParser) -> None:
    """Add the option `--as`, whose value is `username`."""
    parser.add_argument(
        "--as",
        dest="username",
        metavar="USER",
        help="who acts; default: the account named like you on this computer, or else the only superuser,"
        " or else the only account",
    )


def acting_person(username: str | None) -> User:
    """Return the active account that acts; `Misuse` lists the accounts if that is not clear."""
    if username is not None:
        return _find_person(username)
    person = default_person()
    if person is None:
        raise Misuse(f"Say who acts with --as USER. {_choices()}")
    return person


def group_called(name: str) -> int:
    """Return the id of this group; `Misuse` where there is none."""
    found = Group.objects.filter(name=name).values_list("pk", flat=True).first()
    if found is None:
        raise Misuse(f"There is no group {name!r}.")
    return found


def default_person() -> User | None:
    """Return the account that acts without `--as`, if there is one."""
    active = _accounts().filter(is_active=True)
    namesake = active.filter(**{name_field(): computer_user()}).first()
    if namesake is not None:
        return namesake
    for candidates in (active.filter(is_superuser=True), active):
        found = list(candidates[:2])
        if found:
            return found[0] if len(found) == 1 else None
    return None


def computer_user() -> str:
    """Return the name of this computer's user who runs the command; empty if there is none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def actor_in_terminal(person: User, command: str) -> Actor:
    """Return the actor for this command; the trail names the command in place of an address."""
    return Actor(user_id=person.pk, channel=Channel.COMMAND, user_agent=f"manage.py {command}")


def _find_person(username: str) -> User:
    person = _accounts().filter(**{name_field(): username}).first()
    if person is None:
        raise Misuse(f"There is no account {username!r}. {_choices()}")
    if not person.is_active:
        raise Misuse(f"The account {username!r} is not active. {_choices()}")
    return person


def _choices() -> str:
    active = _accounts().filter(is_active=True).order_by(name_field())
    names = list(active.values_list(name_field(), flat=True)[: _NAMED_AT_MOST + 1])
    if not names:
        return "There are no accounts yet: `manage.py demo` makes two, `manage.py createsuperuser` one."
    more = ", …" if len(names) > _NAMED_AT_MOST else ""
    return f"Accounts: {', '.join(names[:_NAMED_AT_MOST])}{more}."


def _accounts() -> QuerySet[User]:
    return get_user_model()._default_manager.all()
