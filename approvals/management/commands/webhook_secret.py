"""Print the secret by which receivers verify posted outcomes."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from approvals.checks import SETTINGS
from approvals.delivery.webhooks.messages import secrets_of, secrets_of_group
from approvals.management.installation import require_tables
from approvals.management.people import acting_person, group_called
from approvals.management.screen import Misuse


class Command(BaseCommand):
    help = (
        "Print the secret that signs the outcomes posted for a user's requests, and what a user or group is"
        " told by webhook (Standard Webhooks), alone on a line. It is derived from SECRET_KEY, so another key"
        " gives another secret."
    )
    requires_system_checks: Any = (SETTINGS,)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", metavar="USER", nargs="?", help="the account that asks, or is told")
        parser.add_argument("--group", metavar="GROUP", help="for what is told to this group")
        parser.add_argument("--installation", action="store_true", help="for requests that no account asks")

    def handle(self, *, username: str | None, group: str | None, installation: bool, **options: Any) -> None:
        if [username is not None, group is not None, installation].count(True) != 1:
            raise Misuse("Name one account, or one --group, or say --installation.")
        require_tables()
        if group is not None:
            current, *_ = secrets_of_group(group_called(group))
        else:
            current, *_ = secrets_of(None if username is None else acting_person(username).pk)
        self.stdout.write(current)
