"""Cancel a run from the terminal."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from approvals.management.installation import require_tables
from approvals.management.people import acting_person, actor_in_terminal, add_as_option
from approvals.management.screen import Refused, Screen
from orchestration import queries
from orchestration.management.changing import find_run
from orchestration.management.refusals import raise_as_refusal
from orchestration.manager import OrchestrationManager
from orchestration.models import FINISHED, RunStatus


class Command(BaseCommand):
    help = (
        "End a run, and withdraw what it asks. What it has done stays done. Exit status 1 where it is"
        " refused; the error begins with its code."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", metavar="ID", help="the run's id, or enough of its beginning")
        add_as_option(parser)

    def handle(self, *, id: str, **options: Any) -> None:  # noqa: A002 - the argument's name
        require_tables()
        screen = Screen(self.stdout, no_color=options["no_color"], force_color=options["force_color"])
        person = acting_person(options["username"])
        run = find_run(person, id)
        with raise_as_refusal():
            OrchestrationManager().cancel(actor_in_terminal(person, "cancel_run"), run.pk)
        run = queries.run_by_id(run.pk)
        if run.status in FINISHED and run.status != RunStatus.CANCELLED:
            raise Refused(f"already_finished: The run is {run.status}; there is nothing left to cancel.")
        done = "Cancelled" if run.status == RunStatus.CANCELLED else "Being cancelled by its process"
        screen.say(f"{done}: {run.title}, {run.pk}")
