"""End an account: first its access, then everything in it that says whose it was.

The row itself stays, under the id by which the trail names it.
"""

from __future__ import annotations

from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import transaction

from approvals.queries.account_names import name_field
from approvals.web.edge import preferences, tokens
from approvals.writer import delegations

# Fields of Django's accounts that name a person; a project's own account may lack some.
_PERSONAL = {"first_name", "last_name", "email"}


def name_after(user_id: int) -> str:
    """Return the username that an account gets when its person is forgotten."""
    return f"removed-{user_id}"


def end_access(user_id: int, by_user_id: int | None) -> int:
    """Deactivate the account, which also ends its sessions, and end its delegations and tokens.

    Returns how many tokens were revoked.
    """
    with transaction.atomic():
        user = _lock(user_id)
        delegations.end_all(user_id, by_user_id)
        user.is_active = user.is_staff = user.is_superuser = False
        user.set_unusable_password()
        user.save()
        user.groups.clear()
        user.user_permissions.clear()
        return tokens.end_all(user_id, by_user_id)


def take_name(user_id: int) -> None:
    """Remove the person's name, email and preferences from the account, and the name from the admin's log."""
    with transaction.atomic():
        user = _lock(user_id)
        name = name_after(user_id)
        setattr(user, name_field(), name)
        for field in {each.name for each in user._meta.fields} & _PERSONAL - {name_field()}:
            setattr(user, field, "")
        user.save()
        preferences.forget(user_id)
        accounts = ContentType.objects.get_for_model(get_user_model())
        about = LogEntry.objects.filter(content_type=accounts, object_id=str(user_id))
        about.update(object_repr=name, change_message="")


def _lock(user_id: int) -> User:
    user: User = get_user_model()._default_manager.select_for_update().get(pk=user_id)
    return user
