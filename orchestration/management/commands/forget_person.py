"""The command `forget_person`: remove one person's name and words; the trail keeps the account's number."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User

from approvals.management import accounts
from approvals.management.installation import require_tables
from approvals.management.people import acting_person, actor_in_terminal, add_as_option
from approvals.management.screen import Misuse, Refused, ScreenCommand
from approvals.management.wording import raise_as_refusal
from approvals.queries.account_names import name_field
from approvals.trail import retention
from orchestration.management.removal import (
    count_by_kind,
    join_ids,
    progress,
    refuse_if_altered,
    require_right,
    show_counts,
)
from orchestration.runs import retention as runs


class Command(ScreenCommand):
    help = (
        "Remove the name and the words of USER: the account becomes removed-<number>, inactive, without"
        " tokens; comments and answers go, and what entries of the trail showed to USER. Chains still verify."
        " What others said stays, as do questions that USER asked. Refused while anything of USER is pending."
        " Can be stopped and called again at any time. See docs/audit.md."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("person", metavar="USER", help="the account of the person to forget")
        parser.add_argument("--dry-run", action="store_true", help="only count what would be removed")
        add_as_option(parser)

    def handle(self, *, person: str, dry_run: bool, username: str | None = None, **options: Any) -> None:
        require_tables()
        operator, forgotten = acting_person(username), _account(person)
        if operator.pk == forgotten.pk:
            raise Misuse("You can't remove your own account: name another person with --as USER.")
        require_right(operator)
        counts = retention.count_forgettable(forgotten.pk)
        if dry_run:
            show_counts(self.screen, "Nothing was removed. There are:", count_by_kind(counts))
        _require_nothing_open(forgotten.pk)
        if dry_run:
            return
        ended = accounts.end_access(forgotten.pk, operator.pk)
        # Nothing of this person can come in any more: look again.
        _require_nothing_open(forgotten.pk)
        name = accounts.name_after(forgotten.pk)
        done, needed, altered = 0, 0, list[UUID]()
        actor = actor_in_terminal(operator, "forget_person")
        with progress(self, counts.requests) as advance, raise_as_refusal():
            for removed in retention.forget(actor, forgotten.pk):
                advance(removed.looked_at)
                done += removed.done
                needed += removed.needed
                altered += removed.altered
            for request_ids in retention.requests_closed_by(forgotten.pk):
                runs.forget_in_steps(request_ids, name)
        refuse_if_altered(altered)
        if needed:
            raise Refused(f"still_needed: {needed} outcomes are still to be posted. Try again later.")
        accounts.take_name(forgotten.pk)
        self.screen.say(
            f"The account is {name!r} now. Removed from {done} requests; {ended} API tokens ended."
        )


def _account(username: str) -> User:
    found: User | None = get_user_model()._default_manager.filter(**{name_field(): username}).first()
    if found is None:
        raise Misuse(f"There is no account {username!r}.")
    return found


def _require_nothing_open(user_id: int) -> None:
    if requests := retention.pending_of(user_id):
        raise Refused(
            f"still_needed: {len(requests)} pending requests were asked by, are assigned to, or voted on by"
            f" this person: {join_ids(requests)}. Have them decided, handed on or withdrawn first."
        )
    if open_runs := runs.open_runs_of(user_id):
        raise Refused(
            f"still_needed: {len(open_runs)} runs of this person are under way: {join_ids(open_runs)}."
            " Have them end, or cancel them, first."
        )
