"""Has anybody touched the record? Chains, seals, triggers, and each row against its trail, all recomputed.

Nothing here writes, and nothing that is looked at is believed because it is there: every hash is computed
anew. It takes the memory of a few thousand entries, however many there are.
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
    """What is wrong with this request's entries, what they showed, and its row; nothing: it holds.

    Only `verify` holds entries against the seals, which tell whether a whole chain was made anew.
    """
    with snapshot(), replace_invalid_text():
        return list(Checker().check(request_id))
