"""The command `serve`: pages, WebSockets and runs in one process."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from approvals.management.installation import prepare_tables
from approvals.management.screen import Screen, ScreenCommand
from approvals.web.edge import mount
from orchestration.management.process_exit import exit_process
from orchestration.management.server import add_address_options, names_are_missing, require_free, serve


class Command(ScreenCommand):
    help = "Migrate the database, then serve HTTP, WebSocket and the runtime in one process, until Ctrl-C."
    requires_system_checks = "__all__"

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_address_options(parser)

    def handle(self, *, host: str, port: int, **options: Any) -> None:
        require_free(host, port)
        prepare_tables(self.screen)
        self.screen.say("Starting the server …", style="dim")
        serve(host, port, lambda url: _announce(self.screen, host, url))
        self.screen.say("Stopped.", style="dim")
        exit_process()


def _announce(screen: Screen, host: str, url: str) -> None:
    screen.say(f"Sayso listens on {url}{mount.root()} (Ctrl-C stops it).")
    if names_are_missing(host):
        screen.say(
            "Other computers can reach it only under the names in SAYSO_ALLOWED_HOSTS.", style="yellow"
        )
