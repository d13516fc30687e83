"""Answer a clarification from the terminal."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from approvals import deciding, queries
from approvals.domain.lifecycle import Status
from approvals.exceptions import ApprovalError, UnknownRequest
from approvals.management.answering import parse_answer
from approvals.management.installation import require_tables
from approvals.management.people import acting_person, actor_in_terminal, add_as_option
from approvals.management.screen import Screen
from approvals.management.wording import STATUS_STYLES, outcome_sentence, refusal


class Command(BaseCommand):
    help = (
        "Answer a clarification: with text, with one of its choices, with a JSON array of choices where"
        " several may be picked, or with JSON (or @file) where the answer is a form."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", metavar="ID", help="the request, as `manage.py requests` shows it")
        parser.add_argument("text", metavar="TEXT")
        parser.add_argument("--comment", default="", metavar="C")
        parser.add_argument("--json", action="store_true", help="the outcome as JSON")
        add_as_option(parser)

    def handle(self, **options: Any) -> None:
        require_tables()
        person = acting_person(options["username"])
        try:
            outcome = deciding.answer(
                actor_in_terminal(person, "answer"),
                options["id"],
                _parse_answer(person.pk, options["id"], options["text"]),
                comment=options["comment"],
            )
        except ApprovalError as error:
            raise refusal(error) from error
        screen = Screen(self.stdout, no_color=options["no_color"], force_color=options["force_color"])
        if options["json"]:
            screen.json(queries.outcome_on_the_wire(outcome))
        else:
            screen.say(outcome_sentence(outcome), style=STATUS_STYLES[Status(outcome.status)])


def _parse_answer(user_id: int, request_id: str, text: str) -> Any:
    """Parse the text for this request. The writer refuses requests that the user may not see."""
    try:
        request = queries.request_for(user_id, request_id)
    except UnknownRequest:
        return text
    return parse_answer(text, queries.on_the_wire(request))
