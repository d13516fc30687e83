"""The record in Django's admin: to read, and, for those who may, to decide. Nobody adds, changes, deletes."""

from approvals.admin.requests import ApprovalAdmin, ClarificationAdmin
from approvals.admin.trail import AuditEntryAdmin

__all__ = ["ApprovalAdmin", "AuditEntryAdmin", "ClarificationAdmin"]
