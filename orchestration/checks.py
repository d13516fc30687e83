"""System checks of the engine, of what agents may reach, and of deciders."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import connection

from approvals.checks import check_hosts, check_networks
from approvals.domain.questions import REVIEWERS
from orchestration.catalog import find_orchestration, kind_name, not_imported, registered_kinds
from orchestration.conf import LOCAL, PROCRASTINATE, orchestration_settings
from orchestration.models import DecidersOverride
from orchestration.policies.allowlists import ACCOUNTS
from orchestration.policies.deciders import find_people, overrides

ENGINES = (LOCAL, PROCRASTINATE)


@checks.register()
def check_engine(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check that the engine is known, and that the database supports it."""
    if settings.SAYSO_ENGINE not in ENGINES:
        return [
            checks.Error(
                f"SAYSO_ENGINE is {settings.SAYSO_ENGINE!r}.",
                hint=f"Known engines: {', '.join(ENGINES)}.",
                id="sayso.E101",
            )
        ]
    if settings.SAYSO_ENGINE == PROCRASTINATE and connection.vendor != "postgresql":
        return [
            checks.Error(
                "SAYSO_ENGINE is 'procrastinate', whose queue needs PostgreSQL.",
                hint="Set DATABASE_URL to a PostgreSQL database, or leave SAYSO_ENGINE out.",
                id="sayso.E102",
            )
        ]
    return []


@checks.register()
def check_durations(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check that durations are finite and not negative."""
    found: list[checks.CheckMessage] = []
    if not (math.isfinite(settings.SAYSO_LEASE) and settings.SAYSO_LEASE > 0):
        found.append(
            checks.Error(
                f"SAYSO_LEASE must be a positive number, not {settings.SAYSO_LEASE!r}.", id="sayso.E103"
            )
        )
    if not (math.isfinite(settings.SAYSO_DRAIN) and settings.SAYSO_DRAIN >= 0):
        found.append(
            checks.Error(
                f"SAYSO_DRAIN must be zero or a positive number, not {settings.SAYSO_DRAIN!r}.",
                id="sayso.E104",
            )
        )
    return found


@checks.register()
def check_commands(**kwargs: Any) -> list[checks.CheckMessage]:
    """Check that the programs that the agent `command` may run exist."""
    return list(_programs_not_found())


@checks.register()
def check_effects(**kwargs: Any) -> list[checks.CheckMessage]:
    """Warn of entries in the other allow-lists that allow nothing, or everything."""
    configured = orchestration_settings()
    return [
        *check_hosts("SAYSO_HTTP_HOSTS", configured.http_hosts, "api.example.org", "W103"),
        *check_networks("SAYSO_HTTP_NETWORKS", configured.http_networks, "E106", "W102"),
        *_directories(configured.cleanup_directories),
        *_recipients(configured.email_recipients),
    ]


@checks.register(deploy=True)
def check_modules(**kwargs: Any) -> list[checks.CheckMessage]:
    """Report modules whose orchestrations could not be imported."""
    registered_kinds()
    return [
        checks.Error(
            f"{module} could not be imported: {error}",
            hint="Runs of its orchestrations are left to processes that could.",
            id="sayso.E105",
        )
        for module, error in not_imported().items()
    ]


@checks.register(checks.Tags.database)
def check_deciders(databases: Sequence[str] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Warn of deciders that don't exist: a run that asks them fails. No error, for people come and go."""
    if "default" not in (databases or ()) or DecidersOverride._meta.db_table not in _tables():
        return []
    named = [(kind_name(kind), find_orchestration(*kind).deciders) for kind in sorted(registered_kinds())]
    named += [(f"{one}, as set in the admin", one.names) for one in overrides()]
    return [
        checks.Warning(
            f"Deciders of orchestration {what}: {one}.",
            hint="Runs fail when they ask: make the group, or name others.",
            id="sayso.W110",
        )
        for what, names in named
        if names and names is not REVIEWERS
        for one in find_people(names)[2]
    ]


def _tables() -> list[str]:
    return connection.introspection.table_names()


def _programs_not_found() -> Iterator[checks.CheckMessage]:
    for program in orchestration_settings().commands:
        if not isinstance(program, str) or shutil.which(program) is None:
            yield checks.Warning(
                f"SAYSO_COMMANDS names {program!r}, but there is no such program on this computer.",
                id="sayso.W101",
            )


def _directories(entries: Iterable[str]) -> Iterator[checks.CheckMessage]:
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


def _recipients(entries: Iterable[str]) -> Iterator[checks.CheckMessage]:
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
