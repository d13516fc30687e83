"""Django's admin of what is on record: to read and, with the permission, to decide. No rows are edited."""

from approvals.admin import (
    approvals,
    callbacks,
    clarifications,
    delegations,
    destinations,
    notifications,
    reports,
    seals,
    tokens,
    trail,
)

__all__ = [
    "approvals",
    "callbacks",
    "clarifications",
    "delegations",
    "destinations",
    "notifications",
    "reports",
    "seals",
    "tokens",
    "trail",
]
