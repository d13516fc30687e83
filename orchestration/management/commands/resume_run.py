"""The command `resume_run`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from approvals import links
from approvals.management.installation import require_tables
from approvals.management.people import acting_person, actor_in_terminal, add_as_option
from approvals.management.screen import Refused, Screen, ScreenCommand
from approvals.management.short_ids import HELP
from approvals.management.wording import raise_as_refusal
from orchestration.exceptions import OrchestrationError
from orchestration.management.runs import find_run
from orchestration.manager import OrchestrationManager
from orchestration.models import OPEN
from orchestration.runs.manual_resumption import describe_resumption


class Command(ScreenCommand):
    help = (
        "Let a run that failed or was rejected go on from its record, in a server or worker. Questions and"
        " steps that ended badly are asked or tried again; what is recorded as done is not repeated. Lists"
        " first what is repeated; on a terminal it asks whether to go on. Exit status 1 if this is refused;"
        " the error begins with its code."
    )
    requires_system_checks = "__all__"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", metavar="ID", help=f"the run's id, {HELP}")
        parser.add_argument("--dry-run", action="store_true", help="only list what would be repeated")
        parser.add_argument("--yes", action="store_true", help="do not ask whether to go on")
        add_as_option(parser)

    def handle(self, *, id: str, dry_run: bool, yes: bool, **options: Any) -> None:  # noqa: A002 - its name
        require_tables()
        person = acting_person(options["username"])
        manager, actor = OrchestrationManager(), actor_in_terminal(person, "resume_run")
        run = find_run(person, id)
        with raise_as_refusal(OrchestrationError):
            sentences = describe_resumption(manager.resumption(actor, run.pk))
            if run.status in OPEN:
                self.screen.say(f"The run is {run.status} already: {run.title}, {run.pk}")
                return
            self.screen.say(f"{run.title}, {run.pk}: {run.status}")
            for sentence in sentences or ["Nothing is asked or tried again"]:
                self.screen.say(f"{sentence}.")
            self.screen.say("What is recorded as done is not done again.")
            if dry_run:
                return
            if not yes and sys.stdin.isatty():
                _confirm(self.screen)
            manager.resume(actor, run.pk)
        self.screen.say(f"Queued for a server or worker; see {links.address_of('run', run_id=run.pk)}")


def _confirm(screen: Screen) -> None:
    screen.prompt("Resume the run? [y/N]")
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise Refused("Nothing was changed.")
