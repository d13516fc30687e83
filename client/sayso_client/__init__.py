"""Ask people for approvals and answers, and wait for them: the client of Sayso.

from sayso_client import Sayso

sayso = Sayso()  # SAYSO_URL, SAYSO_TOKEN
sayso.approve("Refund 12.40 EUR", key="refund-812", arguments={"order": 812}).raise_for_refusal()
"""

from sayso_client.answers import Asked, Outcome
from sayso_client.clients import AsyncRequest, AsyncSayso, Request, Sayso
from sayso_client.decorator import require_approval
from sayso_client.errors import (
    Decided,
    Invalid,
    KeyConflict,
    NotApproved,
    NotPermitted,
    NotSetUp,
    Problem,
    Rejected,
    Responded,
    SaysoError,
    StillPending,
    TimedOut,
    Unauthenticated,
    UnfitValue,
    UnknownRequest,
    Unreachable,
    Withdrawn,
)
from sayso_client.questions import key_of, title_of

__all__ = [
    "Asked",
    "AsyncRequest",
    "AsyncSayso",
    "Decided",
    "Invalid",
    "KeyConflict",
    "NotApproved",
    "NotPermitted",
    "NotSetUp",
    "Outcome",
    "Problem",
    "Rejected",
    "Request",
    "Responded",
    "Sayso",
    "SaysoError",
    "StillPending",
    "TimedOut",
    "Unauthenticated",
    "UnfitValue",
    "UnknownRequest",
    "Unreachable",
    "Withdrawn",
    "key_of",
    "require_approval",
    "title_of",
]
