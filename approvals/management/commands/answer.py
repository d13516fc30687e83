"""Answer a clarification from the terminal."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from approvals import deciding, queries
from approvals.exceptions import UnknownRequest
from approvals.management.answering import parse_answer
from approvals.management.installation import require_tables
from approvals.management.people import acting_person, actor_in_terminal, add_as_option
from approvals.management.screen import ScreenCommand
from approvals.management.short_ids import HELP, find_request_id
from approvals.management.wording import raise_as_refusal, show_outcome


class Command(ScreenCommand):
    help = (
        "Answer a clarification, or an approval that takes a text instead: with text, with one of its"
        " choices, with a JSON array of choices where several may be picked, or with JSON (or @file) where"
        " the answer is a form."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", metavar="ID", help=f"the request's id, {HELP}")
        parser.add_argument("text", metavar="TEXT")
        parser.add_argument("--comment", default="", metavar="C")
        parser.add_argument("--json", action="store_true", help="the outcome as JSON")
        add_as_option(parser)

    def handle(self, **options: Any) -> None:
        require_tables()
        person = acting_person(options["username"])
        request_id = find_request_id(person, options["id"])
        with raise_as_refusal():
            outcome = deciding.answer(
                actor_in_terminal(person, "answer"),
                request_id,
                _parse_answer(person.pk, request_id, options["text"]),
                comment=options["comment"],
            )
        show_outcome(self.screen, outcome, as_json=options["json"])


def _parse_answer(user_id: int, request_id: str, text: str) -> Any:
    """Parse the text for this request. The writer refuses requests that the user may not see."""
    try:
        request = queries.request_for(user_id, request_id)
    except UnknownRequest:
        return text
    return parse_answer(text, queries.on_the_wire(request))
