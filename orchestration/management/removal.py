"""What commands that remove content share: permission, progress, and a report of what was not removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID

from django.contrib.auth.models import User
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from approvals.management.screen import Refused, Screen, ScreenCommand
from approvals.queries import people_reads, permissions
from approvals.trail import retention

NAMED_AT_MOST = 10
INTERRUPTED = 130


def require_right(person: User) -> None:
    """Raise Refused if this person, or this process's database role, may not remove content."""
    if not retention.is_allowed_by_database():
        raise Refused(
            "not_permitted: this process's role in the database may not remove what is on record. Use the"
            " DATABASE_URL of the role that may; see docs/deployment.md."
        )
    known = people_reads.persons([person.pk])[person.pk]
    if not known.holds(permissions.MANAGE):
        raise Refused(
            f"not_permitted: {person.get_username()!r} does not hold the permission"
            f" approvals.{permissions.MANAGE}, which administrators have."
        )


@contextmanager
def progress(command: ScreenCommand, requests: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error. Ctrl-C ends the command; what was removed stays removed."""
    columns = (TextColumn("Requests"), BarColumn(), MofNCompleteColumn())
    shown = command.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not shown) as bar:
        task = bar.add_task("", total=requests)
        try:
            yield lambda done: bar.advance(task, done)
        except KeyboardInterrupt:
            bar.stop()
            command.screen.say("Stopped. What was removed is on the trail. To go on, call the command again.")
            raise SystemExit(INTERRUPTED) from None


def count_by_kind(counts: retention.Counts) -> dict[str, int]:
    return {
        "requests": counts.requests,
        "contents of entries": counts.contents,
        "responses": counts.responses,
    }


def show_counts(screen: Screen, heading: str, counts: Mapping[str, int]) -> None:
    screen.say(heading)
    screen.table(("", ""), [(name, str(count)) for name, count in counts.items()])


def refuse_if_altered(altered: Sequence[UUID]) -> None:
    """Raise Refused if something was not removed because it differs from its record."""
    if altered:
        raise Refused(
            f"{len(altered)} requests were not changed: what was shown or said differs from its hash, which"
            f" is evidence. Run `manage.py audit_verify`. They are: {join_ids(altered)}"
        )


def join_ids(ids: Sequence[UUID]) -> str:
    """List the first of these ids."""
    return ", ".join(map(str, ids[:NAMED_AT_MOST])) + (", …" if len(ids) > NAMED_AT_MOST else "")
