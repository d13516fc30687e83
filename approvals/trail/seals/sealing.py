"""Make a seal over all entries since the last one that can no longer change in number.

PostgreSQL assigns ids when entries are written, not when they are committed: below the highest visible id,
others may still appear, and a seal without them would later report them as surplus. So the highest id is read
first, then which transactions hold the lock that writing to the table takes (ids are assigned under it). Once
those have ended, every id up to the one that was read is either visible or never will be. Nobody waits for
the sealing; it waits for as long as a decision may take, at most. SQLite has one writer at a time, so all ids
below are visible.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from time import monotonic, sleep

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import IntegrityError, connection, transaction
from django.db.models import Max, QuerySet

from approvals.conf import approval_settings
from approvals.database.clock import database_now
from approvals.database.transactions import snapshot
from approvals.models import AuditEntry, Seal
from approvals.trail.seals.records import Digest, NoSeal, SealRecord, parse, sign

CHUNK = 5_000
# Seconds between two checks of who still writes.
LOOKING = 0.02

_WRITERS = """
    SELECT virtualtransaction FROM pg_locks
    WHERE relation = to_regclass('approvals_auditentry') AND mode = 'RowExclusiveLock' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class NotSealed(Exception):
    """Nothing was sealed; the text says why."""


def make(key: Ed25519PrivateKey) -> SealRecord | None:
    """Seal all settled entries since the last seal, and record the seal; None if there are none."""
    before = last_seal()
    until = wait_until_settled(approval_settings().recheck_overlap)
    digest = Digest()
    with snapshot():
        for entry_id, sequence, entry_hash in _unsealed_entries(before, until):
            digest.add(entry_id, sequence, entry_hash)
        sealed_at = database_now()
    if not digest.entries:
        return None
    made = sign(key, before, until, digest, sealed_at=sealed_at, host_clock=datetime.now(UTC))
    try:
        with transaction.atomic():
            Seal.writing.bulk_create([_row(made)])
    except IntegrityError:
        raise NotSealed(f"Another process has just made seal {made.number}.") from None
    return made


def last_seal() -> SealRecord | None:
    """Return the last seal; NotSealed if its text is no longer a seal, so that none can follow it."""
    row = Seal.objects.order_by("number").last()
    if row is None:
        return None
    try:
        return parse(row.canonical, hash_=row.hash, signature=row.signature)
    except NoSeal:
        raise NotSealed(f"The text of seal {row.number} is no longer a seal: see audit_verify.") from None


def read_seals() -> Iterator[Seal]:
    """Iterate over all seals on record, by number."""
    rows: QuerySet[Seal] = Seal.objects.order_by("number")
    return rows.iterator(CHUNK)


def wait_until_settled(patience: float) -> int:
    """Wait until no more entries can appear up to the current highest id, and return that id (0: none).

    NotSealed if a transaction that writes entries has not ended after `patience` seconds.
    """
    highest = AuditEntry.objects.aggregate(highest=Max("pk"))["highest"] or 0
    if connection.vendor == "postgresql":
        _wait_for(_writing(), patience)
    return highest


def _wait_for(writers: set[str], patience: float) -> None:
    until = monotonic() + patience
    while writers := writers & _writing():
        if monotonic() > until:
            raise NotSealed(
                f"A transaction that writes entries has not ended within {patience:g} s; nothing was sealed."
            )
        sleep(LOOKING)


def _writing() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(_WRITERS)
        return {name for (name,) in cursor.fetchall()}


def _unsealed_entries(before: SealRecord | None, until: int) -> Iterator[tuple[int, int, str]]:
    entries = AuditEntry.objects.filter(pk__gt=before.last_entry if before else 0, pk__lte=until)
    in_order = entries.order_by("request_id", "sequence").values_list("pk", "sequence", "hash")
    return in_order.iterator(CHUNK)


def _row(seal: SealRecord) -> Seal:
    columns = {one.name: getattr(seal, one.name) for one in fields(seal) if one.name != "host_clock"}
    return Seal(**columns | {"sealed_at": datetime.fromisoformat(seal.sealed_at)})
