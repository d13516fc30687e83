"""The runs of commands: which one is meant, who owns a new one, and who continues one that was let go."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User

from approvals.management.installation import is_embedded
from approvals.management.people import acting_person, computer_user, default_person
from approvals.management.screen import Screen
from approvals.management.short_ids import find_id
from approvals.management.wording import raise_as_refusal
from approvals.queries.account_names import name_field
from orchestration import queries
from orchestration.conf import PROCRASTINATE, orchestration_settings
from orchestration.exceptions import OrchestrationError
from orchestration.models import Run


def find_run(person: User, text: str, name: str = "ID") -> Run:
    """Return the run whose id is, or begins with, this text, if the person may see it.

    `Misuse`, naming the option `name`, if the text is too short, or several ids begin with it.
    """

    def between(first: UUID, last: UUID, limit: int) -> Sequence[tuple[object, str]]:
        return queries.titles_between(person.pk, first, last, limit)

    run_id = find_id(text, "runs", between, name)
    with raise_as_refusal(OrchestrationError):
        return queries.run_for(person.pk, run_id)


def owner_of_run(username: str | None, screen: Screen) -> User:
    """Return the person of this name, or the account of this computer's user.

    On an embedded installation the user owns the database, so a missing account is created. It can't sign in
    until it is given a password.
    """
    name = computer_user()
    if username is None and is_embedded() and name and default_person() is None:
        accounts = get_user_model()._default_manager
        if not accounts.filter(**{name_field(): name}).exists():
            screen.say(
                f"Created the account {name!r} for you. To sign in on the pages: manage.py changepassword"
                f" {name}",
                style="dim",
            )
            return accounts.create_user(**{name_field(): name})
    return acting_person(username)


def describe_takeover(run_id: UUID) -> str:
    """Say in one or two sentences who continues the run, for the person at the terminal."""
    attach = f"manage.py orchestrate --attach {run_id}"
    if (executor := queries.executing_process(run_id)) is not None:
        return f"The run goes on in {executor.name}. To see it again: {attach}"
    if orchestration_settings().engine == PROCRASTINATE:
        from orchestration.engines import jobs

        if jobs.has_live_worker():
            return f"A worker goes on with the run. To see it again: {attach}"
        return (
            f"Nobody goes on with the run until there is a worker: manage.py work. To see it again: {attach}"
        )
    if queries.has_live_server():
        return f"A server goes on with the run. To see it again: {attach}"
    return f"Nobody goes on with the run until there is a server (manage.py serve), or you call: {attach}"
