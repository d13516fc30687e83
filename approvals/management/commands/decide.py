"""Approve or reject a request from the terminal."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from approvals import deciding, queries
from approvals.domain.lifecycle import Status, Verdict
from approvals.exceptions import ApprovalError
from approvals.management.installation import require_tables
from approvals.management.json_option import parse_json_object
from approvals.management.people import acting_person, actor_in_terminal, add_as_option
from approvals.management.screen import Screen
from approvals.management.wording import STATUS_STYLES, outcome_sentence, refusal


class Command(BaseCommand):
    help = "Approve or reject a request. Exit status 1 where it is refused; the error begins with its code."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", metavar="ID", help="the request, as `manage.py requests` shows it")
        parser.add_argument("verdict", choices=[*map(str, Verdict)])
        parser.add_argument("--comment", default="", metavar="C", help="the reason; planners read it")
        parser.add_argument(
            "--arguments",
            metavar="JSON",
            help="the edited arguments, as JSON or @file, where they may be edited",
        )
        parser.add_argument("--json", action="store_true", help="the outcome as JSON")
        add_as_option(parser)

    def handle(self, **options: Any) -> None:
        require_tables()
        actor = actor_in_terminal(acting_person(options["username"]), "decide")
        changed = options["arguments"]
        try:
            outcome = deciding.decide(
                actor,
                options["id"],
                options["verdict"],
                comment=options["comment"],
                arguments=None if changed is None else parse_json_object(changed, "--arguments"),
            )
        except ApprovalError as error:
            raise refusal(error) from error
        screen = Screen(self.stdout, no_color=options["no_color"], force_color=options["force_color"])
        if options["json"]:
            screen.json(queries.outcome_on_the_wire(outcome))
        elif outcome.closed:
            screen.say(outcome_sentence(outcome), style=STATUS_STYLES[Status(outcome.status)])
        else:
            screen.say("Your approval is on record; more are needed.")
