"""Print the secret by which receivers verify posted outcomes."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from approvals.delivery.webhooks.messages import secrets_of
from approvals.management.installation import require_tables
from approvals.management.people import acting_person
from approvals.management.screen import Misuse


class Command(BaseCommand):
    help = (
        "Print the secret that signs the outcomes posted for a user's requests (Standard Webhooks), alone on"
        " a line. It is derived from SECRET_KEY, so another key gives another secret."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", metavar="USER", nargs="?", help="the account that asks")
        parser.add_argument("--installation", action="store_true", help="for requests that no account asks")

    def handle(self, *, username: str | None, installation: bool, **options: Any) -> None:
        if (username is None) != installation:
            raise Misuse("Name the account that asks, or say --installation.")
        require_tables()
        user_id = None if username is None else acting_person(username).pk
        current, *_ = secrets_of(user_id)
        self.stdout.write(current)
