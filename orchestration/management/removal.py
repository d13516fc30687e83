"""What the commands that remove content have in common: who may, how far they are, and what they leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn
from uuid import UUID

from django.contrib.auth.models import User
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from approvals.management.screen import Refused, Screen
from approvals.queries import permissions
from approvals.trail import retention

NAMED_AT_MOST = 10
INTERRUPTED = 130


def require_right(person: User) -> None:
    """`Refused` where this person, or this process's role in the database, may not take anything away."""
    if not retention.is_allowed_by_database():
        raise Refused(
            "not_permitted: this process's role in the database may not remove what is on record. Use the"
            " DATABASE_URL of the role that may; see docs/deployment.md."
        )
    known = permissions.persons([person.pk])[person.pk]
    if not known.holds(permissions.MANAGE):
        raise Refused(
            f"not_permitted: {person.get_username()!r} does not hold the permission"
            f" approvals.{permissions.MANAGE}, which administrators have."
        )


@contextmanager
def progress(screen: Screen, word: str, total: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar on the error stream. Ctrl-C ends the command between sets: what was done stays done."""
    columns = (TextColumn(word), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not shown) as bar:
        task = bar.add_task("", total=total)
        try:
            yield lambda done: bar.advance(task, done)
        except KeyboardInterrupt:
            bar.stop()
            _stop(screen)


def refuse_if_altered(altered: Sequence[UUID]) -> None:
    """`Refused` where something was left as it is because it is not what was recorded."""
    if altered:
        named = ", ".join(map(str, altered[:NAMED_AT_MOST])) + (", …" if len(altered) > NAMED_AT_MOST else "")
        raise Refused(
            f"{len(altered)} requests were left as they are: what was shown or said is not what was hashed,"
            f" which is evidence. Run `manage.py audit_verify`. They are: {named}"
        )


def _stop(screen: Screen) -> NoReturn:
    screen.say("Stopped. What was removed is on the trail; call the command again to go on.")
    raise SystemExit(INTERRUPTED)
