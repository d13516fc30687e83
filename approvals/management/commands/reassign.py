"""Hand a request on to others from the terminal."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from approvals import deciding
from approvals.domain.questions import REVIEWERS
from approvals.exceptions import InvalidRequest
from approvals.management.installation import require_tables
from approvals.management.people import acting_person, actor_in_terminal, add_as_option
from approvals.management.screen import Misuse, ScreenCommand
from approvals.management.short_ids import HELP, find_request_id
from approvals.management.wording import assignees, raise_as_refusal, show_outcome
from approvals.queries.assignees import sort_names


class Command(ScreenCommand):
    help = (
        "Let others decide a request, instead of those who may now. A name that is both a user's and a"
        " group's is given as user:NAME or group:NAME; these forms are understood always."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", metavar="ID", help=f"the request's id, {HELP}")
        to = parser.add_mutually_exclusive_group(required=True)
        to.add_argument("--to", nargs="+", default=[], metavar="USER|GROUP", help="who may decide it now")
        to.add_argument("--reviewers", action="store_true", help="any reviewer may decide it now")
        parser.add_argument("--reason", default="", metavar="R", help="why; it is on the trail")
        parser.add_argument("--json", action="store_true", help="the outcome as JSON")
        add_as_option(parser)

    def handle(self, **options: Any) -> None:
        require_tables()
        person = acting_person(options["username"])
        request_id = find_request_id(person, options["id"])
        try:
            users, groups = sort_names(options["to"], "--to")
        except InvalidRequest as error:
            raise Misuse(error.detail) from error
        with raise_as_refusal():
            outcome = deciding.reassign(
                actor_in_terminal(person, "reassign"),
                request_id,
                REVIEWERS if options["reviewers"] else users,
                groups,
                reason=options["reason"],
            )
        if options["json"] or outcome.closed:
            show_outcome(self.screen, outcome, as_json=options["json"])
        else:
            named = assignees({"users": sorted(users), "groups": sorted(groups)})
            self.screen.say(f"Reassigned. It is now decided by: {named}.")
