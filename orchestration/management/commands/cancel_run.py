"""The command `cancel_run`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from approvals.management.installation import require_tables
from approvals.management.people import acting_person, actor_in_terminal, add_as_option
from approvals.management.screen import ScreenCommand
from approvals.management.short_ids import HELP
from approvals.management.wording import raise_as_refusal
from orchestration import queries
from orchestration.exceptions import OrchestrationError
from orchestration.management.runs import find_run
from orchestration.manager import OrchestrationManager, require_cancelled
from orchestration.models import RunStatus


class Command(ScreenCommand):
    help = (
        "End a run, and withdraw its open requests. Completed steps are not undone. Exit status 1 if this is"
        " refused; the error begins with its code."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", metavar="ID", help=f"the run's id, {HELP}")
        add_as_option(parser)

    def handle(self, *, id: str, **options: Any) -> None:  # noqa: A002 - the argument's name
        require_tables()
        person = acting_person(options["username"])
        run = find_run(person, id)
        with raise_as_refusal(OrchestrationError):
            OrchestrationManager().cancel(actor_in_terminal(person, "cancel_run"), run.pk)
            run = queries.run_by_id(run.pk)
            require_cancelled(run)
        done = "Cancelled" if run.status == RunStatus.CANCELLED else "Its process is cancelling it"
        self.screen.say(f"{done}: {run.title}, {run.pk}")
