"""List the requests that a person may see: the inbox in the terminal."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from approvals import queries
from approvals.domain.lifecycle import Kind, Severity, Status
from approvals.management.installation import require_tables
from approvals.management.people import acting_person, add_as_option
from approvals.management.screen import Misuse, Screen, ScreenCommand, visible
from approvals.management.wording import KIND_MARKS, STATUS_LOOKS, time_left

SHOWN_AT_MOST = 200
LIMIT = 10_000


class Command(ScreenCommand):
    help = (
        "List the requests that you may see, by deadline. Without a terminal, one line each: id, kind,"
        " status, deadline, requester and title, separated by tabs."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--status", default=Status.PENDING.value, choices=[*map(str, Status), "all"])
        parser.add_argument("--mine", action="store_true", help="only those that you may decide")
        parser.add_argument(
            "--limit",
            type=int,
            default=SHOWN_AT_MOST,
            metavar="N",
            help=f"how many at most, from 1 to {LIMIT}; default: %(default)s",
        )
        parser.add_argument("--json", action="store_true", help="the requests as one JSON array")
        add_as_option(parser)

    def handle(
        self, *, status: str, mine: bool, limit: int, json: bool, username: str | None, **options: Any
    ) -> None:
        if not 1 <= limit <= LIMIT:
            raise Misuse(f"--limit must be from 1 to {LIMIT}.")
        require_tables()
        person = acting_person(username)
        state = None if status == "all" else status
        found = queries.list_inbox(person.pk, status=state, mine=mine, limit=limit + 1)
        queries.name_steps(found)
        requests = [queries.on_the_wire(row) for row in found[:limit]]
        if json:
            self.screen.json(requests)
        elif self.screen.is_terminal:
            _show(self.screen, requests, status)
        else:
            names = ("id", "kind", "status", "deadline", "requester", "title")
            self.screen.table((), [[request[name] or "-" for name in names] for request in requests])
        if len(found) > limit:
            self.stderr.write(f"These are the first {limit}: --limit shows more.")


def _show(screen: Screen, requests: Sequence[Mapping[str, Any]], status: str) -> None:
    if not requests:
        screen.say("Nothing waits for you." if status == Status.PENDING else "No such requests.", style="dim")
        return
    now = datetime.now(UTC)
    screen.table(("", "Request", "Asked by", "State"), [_row(request, now) for request in requests])
    screen.say(
        "Decide with: manage.py decide ID approve|reject, manage.py answer ID TEXT."
        " The first characters of an id are enough where no other begins so.",
        style="dim",
    )


def _row(request: Mapping[str, Any], now: datetime) -> list[str | Text]:
    title = Text(visible(request["title"]), style="bold")
    mark = Text(KIND_MARKS[Kind(request["kind"])])
    if request["severity"] == Severity.HIGH:
        mark.append("\n! severity high", style="bold red")
    return [
        mark,
        title.append(f"\n{request['id']}\n", style="not bold dim"),
        request["requester"] or "-",
        _state(request, now),
    ]


def _state(request: Mapping[str, Any], now: datetime) -> Text:
    status = Status(request["status"])
    if status is not Status.PENDING:
        return Text(*STATUS_LOOKS[status])
    words, urgent = time_left(request["deadline"], now)
    return Text(f"! {words}" if urgent else words, style="bold red" if urgent else "")
