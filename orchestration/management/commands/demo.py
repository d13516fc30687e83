"""The command `demo`: people, samples that wait for them, and a server."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.conf import settings

from approvals.conf import approval_settings
from approvals.management.installation import prepare_tables
from approvals.management.screen import Screen, ScreenCommand
from orchestration.management.demo_data import allow_samples, demo_people, require_embedded, start_samples
from orchestration.management.process_exit import exit_process
from orchestration.management.server import add_address_options, require_free, serve

# The default timeout in seconds, long enough to look around.
PATIENCE = 7_200.0


class Command(ScreenCommand):
    help = (
        "Migrate, create two demo people with new one-time passwords, start sample orchestrations that wait"
        " for them, and serve. For the embedded SQLite database only; your own accounts are not changed."
    )
    requires_system_checks = "__all__"

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_address_options(parser)

    def handle(self, *, host: str, port: int, **options: Any) -> None:
        # The port first: if a demo runs already, its passwords must stay valid.
        require_free(host, port)
        require_embedded()
        prepare_tables(self.progress)
        settings.SAYSO_DEFAULT_TIMEOUT = max(approval_settings().default_timeout, PATIENCE)
        allow_samples()
        self._say("Creating the accounts owner and reviewer, with new passwords …")
        people = demo_people()
        names = start_samples()
        self._say(f"Samples that wait for them: {', '.join(names)}")
        self._say("Starting the server …")
        serve(host, port, lambda url: _announce(self.screen, url, people), quiet=options["verbosity"] < 2)
        self.screen.say(
            "Stopped. The samples still wait in the database; `manage.py demo` continues them.", style="dim"
        )
        exit_process()

    def _say(self, text: str) -> None:
        self.progress.say(text, style="dim")


def _announce(screen: Screen, url: str, people: Sequence[tuple[str, str, str]]) -> None:
    screen.fields(
        {"inbox": f"{url}/", "runs": f"{url}/runs/", "admin": f"{url}/admin/"}, title="Sayso", style="green"
    )
    screen.table(("Sign in as", "One-time password", ""), people)
    screen.say(
        "The passwords are valid until the next `manage.py demo`. Ctrl-C stops the server.", style="dim"
    )
