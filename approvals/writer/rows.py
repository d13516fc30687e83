"""Read what a batch of commands needs: its rows, locked in id order, and everything about them.

What is about the rows is read by later statements than the one that locks them: a statement that had to wait
for a lock would join the locked row with what the other tables held when the statement began. What has become
of them is written by `Batch.write`, see batch.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connection

from approvals.database import bulk, conversions
from approvals.database.clock import CLOCK, as_utc
from approvals.database.pipeline import begin, execute, limit_transaction_time, together
from approvals.domain.commands import (
    Answer,
    Command,
    Comment,
    Decision,
    Escalate,
    Keyed,
    OpenRequest,
    Reassign,
)
from approvals.domain.lifecycle import Verdict
from approvals.models import HumanRequest, Response
from approvals.queries import people_reads, permissions
from approvals.writer import quotas


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Somebody's vote or answer, and whose it is if they stood for somebody."""

    verdict: str
    answer: Any
    arguments: dict[str, Any] | None
    on_behalf_of_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What `read` has found.

    `now` is the database's clock after the locks were got; `said` is by request and person; `usage` is by
    account, of those whose openings count.
    """

    rows: dict[UUID, HumanRequest]
    now: datetime
    audiences: dict[UUID, permissions.Audience]
    people: dict[int, permissions.Person]
    said: dict[tuple[UUID, int | None], Said]
    usage: dict[int, quotas.Usage]


def read(commands: Sequence[Command]) -> Findings:
    """Lock the rows that the commands concern, until the transaction ends, and read all that they need."""
    keys = _keys(commands)
    if keys:
        begin()
    ids = {one.request_id for one in commands if not isinstance(one.request_id, Keyed)} | _ids_of_keys(keys)
    user_ids = {one.actor.user_id for one in commands if one.actor.user_id is not None}
    naming = any(isinstance(command, Reassign | Escalate) for command in commands)
    asked_by_people = bool(user_ids) or naming
    counted = quotas.accounts_counted(commands)
    saying = user_ids & {one.actor.user_id for one in commands if isinstance(one, Comment)}
    votes = any(isinstance(command, Decision | Answer) for command in commands)
    with together():
        if not keys:
            begin()
        limit_transaction_time()
        quotas.lock_accounts(counted | saying)
        rows = bulk.read(HumanRequest, ids, lock=True)
        clock = execute(CLOCK[connection.vendor])
        assignments = people_reads.ask_for_assignments(ids) if asked_by_people else dict
        # For whom they stand is judged at the same moment as the deadline.
        people = people_reads.ask_for_persons(user_ids | counted, lambda: as_utc(clock.rows()[0][0]))
        usage = quotas.asking_usage(counted)
        said = _asking_what_was_said(ids) if votes else dict
        found = rows()
        findings = Findings(
            rows={row.pk: row for row in found},
            now=as_utc(clock.rows()[0][0]),
            audiences=people_reads.build_audiences(found, assignments()) if asked_by_people else {},
            people=_with_principals(people()),
            said=said(),
            usage=usage(),
        )
    _name_deciders(found)
    return _with_voters(findings)


def _with_principals(people: dict[int, permissions.Person]) -> dict[int, permissions.Person]:
    """Add those for whom they stand, who are asked for their own rights alone."""
    principals = {one.id: one for person in people.values() for one in person.principals}
    return {**principals, **people} if principals else people


def _with_voters(findings: Findings) -> Findings:
    """Add the people whose earlier votes are to be counted, which depends on their rights now."""
    voters = {
        one
        for (request_id, actor_id), said in findings.said.items()
        for one in (actor_id, said.on_behalf_of_id)
        if one is not None and said.verdict == Verdict.APPROVE and findings.rows[request_id].required > 1
    }
    if not voters:
        return findings
    return replace(
        findings,
        people={**findings.people, **people_reads.persons(voters - findings.people.keys())},
        audiences=findings.audiences or people_reads.audiences(list(findings.rows.values())),
    )


def _asking_what_was_said(ids: Collection[UUID]) -> Callable[[], dict[tuple[UUID, int | None], Said]]:
    found = execute(
        f"SELECT request_id, actor_id, verdict, answer, arguments, on_behalf_of_id"  # noqa: S608
        f" FROM {bulk.table(Response)} WHERE {bulk.among('request_id')}",
        [bulk.values(ids)],
    )
    as_key = bulk.key_conversion(get_user_model())
    return lambda: {
        (conversions.as_uuid(request_id), as_key(actor_id)): Said(
            verdict=verdict,
            answer=conversions.as_json(answer),
            arguments=conversions.as_json(arguments),
            on_behalf_of_id=as_key(principal_id),
        )
        for request_id, actor_id, verdict, answer, arguments, principal_id in found.rows()
    }


def _name_deciders(rows: Collection[HumanRequest]) -> None:
    """Read who has decided these rows, for refusals to say."""
    decided = [row for row in rows if row.decided_by_id is not None]
    if not decided:
        return
    deciders = get_user_model()._default_manager.in_bulk({row.decided_by_id for row in decided})
    for row in decided:
        row.decided_by = deciders[row.decided_by_id]


def _keys(commands: Sequence[Command]) -> set[tuple[str, str]]:
    """Return the keys by which commands name requests, each with its scope."""
    keys = {(one.key_scope, one.key) for one in commands if isinstance(one, OpenRequest) and one.key}
    return keys | {
        (one.request_id.key_scope, one.request_id.key)
        for one in commands
        if isinstance(one.request_id, Keyed)
    }


def _ids_of_keys(keys: set[tuple[str, str]]) -> set[UUID]:
    if not keys:
        return set()
    scopes, names = {scope for scope, _ in keys}, {name for _, name in keys}
    found = HumanRequest.objects.filter(key_scope__in=scopes, key__in=names)
    return {pk for pk, *key in found.values_list("pk", "key_scope", "key") if tuple(key) in keys}
