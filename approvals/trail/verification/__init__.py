"""Verification: has anybody changed the record? Recomputes chains and seals, checks triggers, compares rows.

Nothing is written for good, and every hash is computed anew. It takes the memory of a few thousand entries,
however many there are.
"""

from __future__ import annotations

from uuid import UUID

from approvals.database.stored_columns import replace_invalid_text
from approvals.database.transactions import snapshot
from approvals.trail.verification.checker import Checker
from approvals.trail.verification.faults import Fault, FaultKind, Report
from approvals.trail.verification.files import verify_export
from approvals.trail.verification.installation import Progress, verify

__all__ = ["Fault", "FaultKind", "Progress", "Report", "verify", "verify_export", "verify_request"]


def verify_request(request_id: UUID) -> list[Fault]:
    """Return what is wrong with this request's entries, their content, and its row.

    Only `verify` compares entries with the seals, which tell whether a whole chain was made anew.
    """
    with snapshot(), replace_invalid_text():
        return list(Checker().check(request_id))
