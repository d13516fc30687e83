"""The people of a storm, in its database: who may do what, and their tokens."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tests.faults.storm.errands import ASKER, DECIDERS


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

    from approvals.web.edge import tokens

    call_command("migrate", verbosity=0)
    decide = Permission.objects.get(codename="decide_humanrequest")
    start = Permission.objects.get(codename="add_run")
    issued = {}
    for name in (ASKER, *DECIDERS):
        user = User.objects.create_user(name)
        user.user_permissions.add(decide, *([start] if name == ASKER else []))
        scopes = ["ask", "decide", "read"] if name == ASKER else ["decide", "read"]
        issued[name] = tokens.issue(user.pk, "storm", scopes)[1]
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's alone
    return issued
