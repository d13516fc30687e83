"""System checks of the engine, of what agents may reach, and of deciders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core import checks
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import connection

from approvals.checks import SETTINGS, Messages, check_hosts, check_networks, check_number
from approvals.domain.questions import REVIEWERS
from approvals.exceptions import InvalidRequest
from approvals.queries.assignees import group_ids_of, user_ids_of
from orchestration.catalog import find_orchestration, kind_name, not_imported, registered_kinds
from orchestration.conf import LOCAL, PROCRASTINATE, orchestration_settings
from orchestration.models import DecidersOverride
from orchestration.policies.allowlists import ACCOUNTS
from orchestration.policies.deciders import find_people, overrides

ENGINES = (LOCAL, PROCRASTINATE)
_TOKEN_LENGTH = 20
_QUEUE = "procrastinate.contrib.django"


@checks.register(SETTINGS)
def check_engine(**told: Any) -> Messages:
    """Check that the engine is known, and that the database supports it."""
    engine = orchestration_settings().engine
    if engine not in ENGINES:
        yield checks.Error(
            f"SAYSO_ENGINE is {engine!r}.",
            hint=f"Known engines: {', '.join(ENGINES)}.",
            id="sayso.E101",
        )
    elif engine == PROCRASTINATE and connection.vendor != "postgresql":
        yield checks.Error(
            "SAYSO_ENGINE is 'procrastinate', whose queue needs PostgreSQL.",
            hint="Set DATABASE_URL to a PostgreSQL database, or leave SAYSO_ENGINE out.",
            id="sayso.E102",
        )
    elif engine == PROCRASTINATE and not apps.is_installed(_QUEUE):
        yield checks.Error(
            f"SAYSO_ENGINE is 'procrastinate', but INSTALLED_APPS lacks {_QUEUE!r}.",
            hint=_line_that_adds_the_queue(),
            id="sayso.E107",
        )


def _line_that_adds_the_queue() -> str:
    if find_spec("procrastinate") is None:
        return "Install the extra `workers`: python -m pip install 'procrastinate[django]'"
    return f'INSTALLED_APPS += ["{_QUEUE}"]'


@checks.register(SETTINGS)
def check_durations(**told: Any) -> Messages:
    """Check that durations are finite and not negative."""
    configured = orchestration_settings()
    yield from check_number("SAYSO_LEASE", configured.lease, "E103")
    yield from check_number(
        "SAYSO_DRAIN", configured.drain, "E104", rule="zero or a positive number", zero_allowed=True
    )


@checks.register(SETTINGS)
def check_commands(**told: Any) -> Messages:
    """Check that the programs that the agent `command` may run exist."""
    for program in orchestration_settings().commands:
        if not isinstance(program, str) or shutil.which(program) is None:
            yield checks.Warning(
                f"SAYSO_COMMANDS names {program!r}, but there is no such program on this computer.",
                id="sayso.W101",
            )


@checks.register(SETTINGS)
def check_effects(**told: Any) -> Messages:
    """Warn of entries in the other allow-lists that allow nothing, or everything."""
    configured = orchestration_settings()
    yield from check_hosts("SAYSO_HTTP_HOSTS", configured.http_hosts, "api.example.org", "W103")
    yield from check_networks("SAYSO_HTTP_NETWORKS", configured.http_networks, "E106", "W102")
    yield from _check_directories(configured.cleanup_directories)
    yield from _check_recipients(configured.email_recipients)


@checks.register(SETTINGS)
def check_metrics_token(**told: Any) -> Messages:
    """Warn of a short token."""
    if 0 < len(orchestration_settings().metrics_token) < _TOKEN_LENGTH:
        yield checks.Warning(
            "SAYSO_METRICS_TOKEN is short: it could be guessed.",
            hint=f"Set at least {_TOKEN_LENGTH} random characters.",
            id="sayso.W010",
        )


@checks.register(deploy=True)
def check_modules(**told: Any) -> Messages:
    """Report modules whose orchestrations could not be imported."""
    registered_kinds()
    for module, error in not_imported().items():
        yield checks.Error(
            f"{module} could not be imported: {error}",
            hint="Runs of its orchestrations are left to processes that could.",
            id="sayso.E105",
        )


@checks.register(checks.Tags.database)
def check_deciders(*, databases: Sequence[str] | None = None, **told: Any) -> Messages:
    """Warn of deciders that don't exist, also of those who decide if nobody does: a run that asks them fails.

    No error, for people come and go.
    """
    tables = connection.introspection.table_names() if "default" in (databases or ()) else ()
    if DecidersOverride._meta.db_table not in tables or not get_user_model()._default_manager.exists():
        return  # nobody is there yet, as in the database of a test run
    named = [(kind_name(kind), find_orchestration(*kind).deciders) for kind in sorted(registered_kinds())]
    named += [(f"{one}, as set in the admin", one.names) for one in overrides()]
    for what, names in named:
        for one in find_people(names)[2] if names and names is not REVIEWERS else ():
            yield checks.Warning(
                f"Deciders of orchestration {what}: {one}.",
                hint="Runs fail when they ask: make the group, or name others.",
                id="sayso.W110",
            )
    for kind in sorted(registered_kinds()):
        for detail in _unknown_in_steps(find_orchestration(*kind).escalation):
            yield checks.Warning(
                f"Orchestration {kind_name(kind)}: {detail}",
                hint="Runs fail when they ask: make the account or the group, or name others.",
                id="sayso.W110",
            )


def _unknown_in_steps(steps: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for at, step in enumerate(steps):
        for field, ids_of in (("users", user_ids_of), ("groups", group_ids_of)):
            try:
                ids_of(step[field], f"escalation[{at}].{field}", spots=True)
            except InvalidRequest as error:
                yield error.detail


def _check_directories(entries: Iterable[str]) -> Messages:
    for text in entries:
        if not text.startswith("/"):
            yield checks.Warning(
                f"SAYSO_CLEANUP_DIRECTORIES: {text!r} is not an absolute path, so it allows nothing.",
                id="sayso.W104",
            )
        elif os.path.realpath(text) == "/":
            yield checks.Warning(
                f"SAYSO_CLEANUP_DIRECTORIES: {text} allows everything that this process can remove.",
                hint="Name the directories that people may clean up.",
                id="sayso.W105",
            )


def _check_recipients(entries: Iterable[str]) -> Messages:
    for text in entries:
        try:
            if text != ACCOUNTS:
                validate_email(f"anybody{text[1:]}" if text.startswith("*@") else text)
        except ValidationError:
            yield checks.Warning(
                f"SAYSO_EMAIL_RECIPIENTS: {text!r} is not an address, so it allows none.",
                hint=f"Use addresses, *@example.org, or {ACCOUNTS} for the addresses of active accounts.",
                id="sayso.W106",
            )
