"""The record in Django's admin: to read, and, for those who may, to decide. Nobody adds, changes, deletes."""

from approvals.admin.callbacks import CallbackAdmin
from approvals.admin.requests import ApprovalAdmin, ClarificationAdmin
from approvals.admin.tokens import ApiTokenAdmin
from approvals.admin.trail import AuditEntryAdmin

__all__ = ["ApiTokenAdmin", "ApprovalAdmin", "AuditEntryAdmin", "CallbackAdmin", "ClarificationAdmin"]
