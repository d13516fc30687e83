"""List whom requests were told to, the newest first."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from approvals import queries
from approvals.management.installation import require_tables
from approvals.management.people import acting_person, add_as_option
from approvals.management.screen import Misuse, ScreenCommand
from approvals.management.wording import moment

SHOWN_AT_MOST = 200
LIMIT = 10_000


class Command(ScreenCommand):
    help = (
        "List notifications about the requests that you may see, the newest first. Without a terminal, one"
        " line each: when, event, person or group, by what, state, attempts, last error, id of the request."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--failed", action="store_true", help="only those that failed, or fail so far")
        parser.add_argument(
            "--limit",
            type=int,
            default=SHOWN_AT_MOST,
            metavar="N",
            help=f"how many at most, from 1 to {LIMIT}; default: %(default)s",
        )
        add_as_option(parser)

    def handle(self, *, failed: bool, limit: int, username: str | None, **options: Any) -> None:
        if not 1 <= limit <= LIMIT:
            raise Misuse(f"--limit must be from 1 to {LIMIT}.")
        require_tables()
        person = acting_person(username).pk
        found = queries.list_told(person, failed=failed, limit=limit)
        columns = ("When", "Event", "For", "By", "State", "Attempts", "Last error", "Request")
        rows = [
            (
                moment(told.created_at),
                told.event,
                told.owner,
                told.kind,
                told.status.replace("_", " "),
                str(told.attempts),
                told.error or "-",
                str(told.request_id),
            )
            for told in found
        ]
        if rows or not self.screen.is_terminal:
            self.screen.table(columns, rows)
        else:
            self.screen.say("Nothing failed." if failed else "Nothing was told yet.", style="dim")
        for one in queries.list_failing(person, limit=limit) if failed else ():
            named = f"{one.kind} {one.label!r}" if one.label else one.kind
            self.progress.say(f"Failing since {moment(one.since)}: {named} of {one.owner}.")
