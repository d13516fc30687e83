"""Ids of accounts, which are integers in some projects and UUIDs in others."""

from __future__ import annotations

from typing import Any


def on_record(account_id: Any) -> Any:
    """Return the id as entries of the trail have it: an integer as it is, any other id as text."""
    return account_id if account_id is None or isinstance(account_id, int) else str(account_id)
