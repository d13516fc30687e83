"""The people of a storm, in its database: who may do what, who hears of what, and their tokens."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.faults.storm.errands import ASKER, AWAY, HEARS, PEOPLE, QUIET, STANDIN
from tests.faults.storm.letters import DOMAIN


def set_up(environment: Mapping[str, str]) -> dict[str, str]:
    """Migrate the database of this environment and let people in; their tokens, by name.

    Django is this process's from here on, and keeps no connection.
    """
    os.environ.update(environment)
    import django

    django.setup()
    from django.contrib.auth.models import Permission, User
    from django.core.management import call_command
    from django.db import connection

    from approvals import delegations
    from approvals.web.edge import tokens
    from approvals.writer import greetings

    call_command("migrate", verbosity=0)
    decide = Permission.objects.get(codename="decide_humanrequest")
    start = Permission.objects.get(codename="add_run")
    issued = {}
    for name in PEOPLE:
        user = User.objects.create_user(name, email=f"{name}@{DOMAIN}")
        user.user_permissions.set({ASKER: [decide, start], STANDIN: []}.get(name, [decide]))
        _choose(user)
        scopes = ["ask", "decide", "read"] if name == ASKER else ["decide", "read"]
        issued[name] = tokens.issue(user.pk, "storm", scopes)[1]
    delegations.delegate(AWAY, STANDIN, None, datetime.now(UTC) + timedelta(days=2))
    greetings.greet()  # while nothing waits: the storm knows each message by itself
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's alone
    return issued


def _choose(user: Any) -> None:
    """What they hear of, and when not: from an hour ago until half a day from now, however urgent."""
    from approvals.domain.telling import DestinationKind
    from approvals.models import Destination, Preference

    events = list(HEARS.get(user.username, ()))
    Destination.objects.create(user=user, kind=DestinationKind.EMAIL, events=events)
    if user.username == QUIET:
        now = datetime.now(UTC)
        Preference.objects.create(
            user=user,
            quiet_from=(now - timedelta(hours=1)).time(),
            quiet_until=(now + timedelta(hours=12)).time(),
            urgent_breaks_quiet=False,
        )
