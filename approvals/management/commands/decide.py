"""Approve or reject a request from the terminal, or answer it with a text instead."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from approvals import deciding
from approvals.domain.lifecycle import DECISIONS
from approvals.management.answering import parse_json_object
from approvals.management.installation import require_tables
from approvals.management.people import acting_person, actor_in_terminal, add_as_option
from approvals.management.screen import ScreenCommand
from approvals.management.short_ids import HELP, find_request_id
from approvals.management.wording import raise_as_refusal, show_outcome


class Command(ScreenCommand):
    help = (
        "Approve or reject a request, or respond with a text instead, where it takes one. Exit status 1 where"
        " it is refused; the error begins with its code."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", metavar="ID", help=f"the request's id, {HELP}")
        parser.add_argument("verdict", choices=DECISIONS)
        parser.add_argument("--comment", default="", metavar="C", help="the reason; planners read it")
        parser.add_argument(
            "--arguments",
            metavar="JSON",
            help="the edited arguments, as JSON or @file, where they may be edited",
        )
        parser.add_argument("--answer", metavar="TEXT", help="the text of `respond`")
        parser.add_argument("--json", action="store_true", help="the outcome as JSON")
        add_as_option(parser)

    def handle(self, **options: Any) -> None:
        require_tables()
        person = acting_person(options["username"])
        changed = options["arguments"]
        with raise_as_refusal():
            outcome = deciding.decide(
                actor_in_terminal(person, "decide"),
                find_request_id(person, options["id"]),
                options["verdict"],
                comment=options["comment"],
                arguments=None if changed is None else parse_json_object(changed, "--arguments"),
                answer=options["answer"],
            )
        show_outcome(self.screen, outcome, as_json=options["json"])
