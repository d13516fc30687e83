"""Issue an API token to a user and print it, only this once."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from approvals.exceptions import InvalidRequest
from approvals.management.installation import require_tables
from approvals.management.people import acting_person
from approvals.management.screen import Misuse, ScreenCommand, visible
from approvals.management.wording import moment
from approvals.web.edge import tokens
from approvals.web.edge.tokens import DEFAULT_SCOPES, Scope

SECONDS_A_DAY = 86_400
# The options of the fields that may be invalid.
OPTIONS = {"name": "--name", "lifetime": "--expires-in", "scopes": "--scope", "user": "USER"}


class Command(ScreenCommand):
    help = (
        "Issue an API token, with which a program acts as USER. Standard output gets the token and nothing"
        " else, so that TOKEN=$(manage.py create_token …) works. Only its hash is kept."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", metavar="USER", help="the account that the program acts as")
        parser.add_argument(
            "--name", required=True, metavar="N", help="what the token is for; the trail shows it"
        )
        parser.add_argument(
            "--scope",
            dest="scopes",
            action="append",
            choices=[*map(str, Scope)],
            help="what it may be used for; may be repeated. Default: ask and read",
        )
        parser.add_argument(
            "--expires-in", dest="days", type=float, metavar="DAYS", help="default: until it is revoked"
        )

    def handle(self, **options: Any) -> None:
        require_tables()
        person = acting_person(options["username"])
        days = options["days"]
        try:
            token, secret = tokens.issue(
                person.pk,
                options["name"],
                options["scopes"] or DEFAULT_SCOPES,
                lifetime=None if days is None else days * SECONDS_A_DAY,
            )
        except InvalidRequest as error:
            option = OPTIONS.get(error.field or "", error.field)
            raise Misuse(visible(f"{option}: {error.detail}")) from error
        by_default = "" if options["scopes"] else ", because no --scope was given"
        end = f"until {moment(token.expires_at)}" if token.expires_at else "until it is revoked"
        scopes = f"{' and '.join(token.scopes)}{by_default}"
        self.progress.say(f"Token {token.name!r} for {person.get_username()}: {scopes}; holds {end}.")
        self.progress.say("This is the only time that it is shown; only its hash is kept.")
        self.stdout.write(secret)
