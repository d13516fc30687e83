"""The command `purge_history`: remove what was shown and said, and keep the verifiable chain."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from approvals.database.clock import database_now
from approvals.domain.commands import Actor
from approvals.management.installation import require_tables
from approvals.management.people import acting_person, actor_in_terminal, add_as_option
from approvals.management.screen import Misuse, Screen, ScreenCommand
from approvals.management.wording import moment, raise_as_refusal
from approvals.trail import retention as requests
from orchestration.management.removal import (
    count_by_kind,
    progress,
    refuse_if_altered,
    require_right,
    show_counts,
)
from orchestration.runs import retention as runs

LONGEST = 36_500


class Command(ScreenCommand):
    help = (
        "Remove what was shown and said: of requests that were closed, and of runs that ended, more than"
        " DAYS days ago. Entries of the trail, their hashes, times and actors stay, and still verify; every"
        " removal is an entry itself. What is pending or under way is never touched. Can be stopped and"
        " called again at any time. See docs/audit.md."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--older-than", required=True, metavar="DAYS", help="a whole number, 1 or more")
        parser.add_argument("--dry-run", action="store_true", help="only count what would be removed")
        add_as_option(parser)

    def handle(self, *, older_than: str, dry_run: bool, username: str | None = None, **options: Any) -> None:
        days = _days(older_than)
        require_tables()
        before = database_now() - timedelta(days=days)
        person = acting_person(username)
        require_right(person)
        with progress(self, requests.count_due(before)) as advance:
            if dry_run:
                _count(self.screen, before, advance)
                return
            altered = _purge(self.screen, actor_in_terminal(person, "purge_history"), before, advance)
        refuse_if_altered(altered)


def _days(text: str) -> int:
    try:
        days = int(text)
    except (TypeError, ValueError):
        days = 0
    if not 1 <= days <= LONGEST:
        raise Misuse(f"--older-than {text}: give a whole number of days, from 1 to {LONGEST}.")
    return days


def _count(screen: Screen, before: datetime, advance: Any) -> None:
    found = Counter(count_by_kind(requests.Counts()))
    for counts in requests.count_purgeable(before, sparing=runs.still_open):
        advance(counts.looked_at)
        found.update(count_by_kind(counts))
    heading = f"Closed or ended before {moment(before)}; nothing was removed:"
    show_counts(screen, heading, {**found, **runs.purgeable_runs(before)})


def _purge(screen: Screen, actor: Actor, before: datetime, advance: Any) -> list[UUID]:
    """Purge, and return the requests that were not changed because they differ from their hashes."""
    done, altered = 0, list[UUID]()
    with raise_as_refusal():
        for removed in requests.purge(actor, before, sparing=runs.still_open):
            advance(removed.looked_at)
            done += removed.done
            altered += removed.altered
    heading = f"Removed what was closed or ended before {moment(before)}:"
    show_counts(screen, heading, {"requests": done, **runs.purge_runs(before)})
    return altered
