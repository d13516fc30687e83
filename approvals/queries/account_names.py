"""The names of accounts: the field by which a project's people log in, which need not be `username`."""

from __future__ import annotations

from django.contrib.auth import get_user_model


def name_field(relation: str = "") -> str:
    """Return the lookup of an account's name, through a relation if one is given: `requester__username`."""
    field: str = get_user_model().USERNAME_FIELD
    return f"{relation}__{field}" if relation else field
