"""The rows on record: requests and responses, the trail, tokens, deliveries. Fields and constraints only.

The default managers only read. The managers named `writing` are for `approvals.writer`, for seals and for
tokens, each in the modules that write them. What people prefer is not on record: anybody may write it.
"""

from approvals.models.delegations import Delegation
from approvals.models.deliveries import (
    Callback,
    CallbackAttempt,
    Delivery,
    DeliveryStatus,
    Letter,
    LetterKind,
)
from approvals.models.destinations import Destination, NewAddress
from approvals.models.notifications import (
    Notification,
    NotificationAttempt,
    NotificationStatus,
    Watch,
)
from approvals.models.preferences import Preference
from approvals.models.record import OnRecord, ReadOnlyManager, ReadOnlyQuerySet
from approvals.models.requests import (
    ORIGIN_ID_LIMIT,
    Approval,
    Clarification,
    GroupAssignment,
    HumanRequest,
    Response,
    UserAssignment,
)
from approvals.models.tokens import ApiToken
from approvals.models.trail import REMARKS, AuditEntry, Event, Seal, ShownContent

__all__ = [
    "ORIGIN_ID_LIMIT",
    "REMARKS",
    "ApiToken",
    "Approval",
    "AuditEntry",
    "Callback",
    "CallbackAttempt",
    "Clarification",
    "Delegation",
    "Delivery",
    "DeliveryStatus",
    "Destination",
    "Event",
    "GroupAssignment",
    "HumanRequest",
    "Letter",
    "LetterKind",
    "NewAddress",
    "Notification",
    "NotificationAttempt",
    "NotificationStatus",
    "OnRecord",
    "Preference",
    "ReadOnlyManager",
    "ReadOnlyQuerySet",
    "Response",
    "Seal",
    "ShownContent",
    "UserAssignment",
    "Watch",
]
