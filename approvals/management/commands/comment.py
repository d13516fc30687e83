"""Comment on a request, or ask something back, from the terminal."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from approvals import deciding, queries
from approvals.management.installation import require_tables
from approvals.management.people import acting_person, actor_in_terminal, add_as_option
from approvals.management.screen import ScreenCommand
from approvals.management.short_ids import HELP, find_request_id
from approvals.management.wording import raise_as_refusal


class Command(ScreenCommand):
    help = (
        "Comment on a request that you may see, until 30 days after it was closed; it is on the trail, and"
        " decides nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", metavar="ID", help=f"the request's id, {HELP}")
        parser.add_argument("text", metavar="TEXT")
        parser.add_argument("--question", action="store_true", help="ask for an answer")
        parser.add_argument("--json", action="store_true", help="the comment as JSON")
        add_as_option(parser)

    def handle(self, **options: Any) -> None:
        require_tables()
        person = acting_person(options["username"])
        request_id, text = find_request_id(person, options["id"]), options["text"]
        with raise_as_refusal():
            deciding.comment(actor_in_terminal(person, "comment"), request_id, text, options["question"])
            said = queries.last_comment_by(person.pk, request_id, text)
        if options["json"]:
            self.screen.json(queries.comment_on_the_wire(said))
        else:
            self.screen.say(f"The {'question' if said.question else 'comment'} is on record.")
