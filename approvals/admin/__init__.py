"""Django's admin of what is on record: to read and, with the permission, to decide. No rows are edited."""

from approvals.admin.approvals import ApprovalAdmin
from approvals.admin.callbacks import CallbackAdmin
from approvals.admin.clarifications import ClarificationAdmin
from approvals.admin.reports import AnyRequestAdmin
from approvals.admin.seals import SealAdmin
from approvals.admin.tokens import ApiTokenAdmin
from approvals.admin.trail import AuditEntryAdmin

__all__ = [
    "AnyRequestAdmin",
    "ApiTokenAdmin",
    "ApprovalAdmin",
    "AuditEntryAdmin",
    "CallbackAdmin",
    "ClarificationAdmin",
    "SealAdmin",
]
