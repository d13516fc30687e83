"""Quotas: how many requests, and how many bytes of them, one account may have pending over HTTP.

A request that counts has `counted_bytes` in its row; those of runs and Python code do not count. The count is
taken under a lock on the account, so that batches of several processes don't pass the limit together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connection

from approvals.conf import approval_settings
from approvals.database import bulk
from approvals.database.pipeline import execute
from approvals.domain.commands import Command, OpenRequest, Refused
from approvals.domain.lifecycle import Status
from approvals.models import HumanRequest
from approvals.queries import permissions
from approvals.queries.permissions import Person

# The first half of the number by which PostgreSQL locks an account; nothing else here uses it.
_LOCKS = 0x5351
# For SQL's LIMIT: more rows than there can be.
_EVERYTHING = 2**62


@dataclass(slots=True)
class Usage:
    """What one account has pending."""

    requests: int = 0
    bytes: int = 0


def accounts_counted(commands: Sequence[Command]) -> set[int]:
    """Return the accounts of openings that count."""
    return {
        one.requester_id
        for one in commands
        if isinstance(one, OpenRequest) and one.counted_bytes and one.requester_id is not None
    }


def lock_accounts(account_ids: Collection[int]) -> None:
    """Have other processes wait to count for these accounts until this transaction has ended.

    Always before rows are locked, so that two batches never wait for each other.
    """
    if account_ids and connection.vendor == "postgresql":
        execute(
            "SELECT pg_advisory_xact_lock((%s::bigint << 32) | account)"
            " FROM (SELECT unnest(%s::bigint[]) AS account ORDER BY 1) AS accounts",
            [_LOCKS, bulk.values(map(_number_of, account_ids))],
        )


def asking_usage(account_ids: Collection[int]) -> Callable[[], dict[int, Usage]]:
    """Ask what these accounts have pending, in one statement. Call the result to have it."""
    if not account_ids:
        return dict
    # By how much the number is passed does not matter; without that limit, all bytes are to be summed.
    most = approval_settings().requests_per_user
    limit = most + 1 if most else _EVERYTHING
    found = execute(_usage_statement(connection.vendor), [limit, limit, bulk.values(account_ids)])
    as_key = bulk.key_conversion(get_user_model())
    return lambda: {as_key(pk): Usage(requests=number, bytes=size) for pk, number, size in found.rows()}


class Quotas:
    """What the accounts of a batch have pending, kept up to date as the batch opens and closes requests."""

    def __init__(self, usage: Mapping[int, Usage], people: Mapping[int, Person]) -> None:
        self._usage = defaultdict(Usage, usage)
        self._people = people

    def refuse(self, command: OpenRequest) -> Refused | None:
        """Return the refusal if this would be too much for its requester."""
        if not command.counted_bytes or command.requester_id is None or self._is_free(command.requester_id):
            return None
        usage, most = self._usage[command.requester_id], approval_settings()
        if most.requests_per_user and usage.requests >= most.requests_per_user:
            return _refusal(
                f"You have {usage.requests:,} requests pending that you asked over HTTP;"
                f" {most.requests_per_user:,} may be."
            )
        if most.bytes_per_user and usage.bytes + command.counted_bytes > most.bytes_per_user:
            return _refusal(
                f"This request has {command.counted_bytes:,} bytes, and those that you asked over HTTP and"
                f" that are pending {usage.bytes:,}; {most.bytes_per_user:,} may be together."
            )
        return None

    def count_opened(self, row: HumanRequest) -> None:
        self._count(row, 1)

    def count_closed(self, row: HumanRequest) -> None:
        self._count(row, -1)

    def _count(self, row: HumanRequest, number: int) -> None:
        if row.counted_bytes and row.requester_id is not None:
            usage = self._usage[row.requester_id]
            usage.requests += number
            usage.bytes += number * row.counted_bytes

    def _is_free(self, account_id: int) -> bool:
        person = self._people.get(account_id)
        return person is not None and person.holds(permissions.ASK_WITHOUT_LIMIT)


def _number_of(account_id: Any) -> int:
    """Return the number by which an account is locked; two UUIDs may share one, and wait for each other."""
    return account_id if isinstance(account_id, int) else UUID(str(account_id)).int % 2**32


def _refusal(what: str) -> Refused:
    advice = " Withdraw some, or wait until they are decided."
    return Refused(code="quota_exceeded", detail=what + advice)


@cache
def _usage_statement(vendor: str) -> str:
    kind = get_user_model()._meta.pk.rel_db_type(connection)
    accounts = f"unnest(%s::{kind}[])" if vendor == "postgresql" else "json_each(%s)"
    counted = (
        f"SELECT counted_bytes FROM {bulk.table(HumanRequest)} WHERE requester_id = accounts.value"  # noqa: S608
        f" AND status = '{Status.PENDING.value}' AND counted_bytes > 0 LIMIT %s"
    )
    return (
        f"SELECT accounts.value, (SELECT count(*) FROM ({counted}) AS counted),"  # noqa: S608
        f" (SELECT coalesce(sum(counted_bytes), 0) FROM ({counted}) AS counted)"
        f" FROM {accounts} AS accounts{'(value)' if vendor == 'postgresql' else ''}"
    )
