"""Cancel a run from the terminal."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from approvals.management.installation import require_tables
from approvals.management.people import acting_person, actor_in_terminal, add_as_option
from approvals.management.screen import Screen
from orchestration import selectors
from orchestration.exceptions import AlreadyFinished
from orchestration.management.refusals import told_as_refusal
from orchestration.manager import OrchestrationManager
from orchestration.models import OPEN, Run, RunStatus


class Command(BaseCommand):
    help = (
        "End a run, and take back what it asks. Repeating is harmless. Exit status 1 where it is refused, or"
        " the run has ended otherwise; the error begins with its code."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", metavar="ID", help="the run, as `manage.py orchestrate` shows it")
        add_as_option(parser)

    def handle(self, **options: Any) -> None:
        require_tables()
        actor = actor_in_terminal(acting_person(options["username"]), "cancel_run")
        with told_as_refusal():
            OrchestrationManager().cancel(actor, options["id"])
            run = selectors.run_by_id(options["id"])
            if run.status not in (*OPEN, RunStatus.CANCELLED):
                raise AlreadyFinished(f"The run is {run.status}; there is nothing left to cancel.")
        Screen(self.stdout, no_color=options["no_color"], force_color=options["force_color"]).say(_words(run))


def _words(run: Run) -> str:
    if run.status == RunStatus.CANCELLED:
        return "The run is cancelled."
    return f"The run is being cancelled by {run.process}, which executes it."
