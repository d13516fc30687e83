"""Which tokens people may make: any for themselves; for others, only such that can do no more than they can.

A token acts as its account: it reads what that account asked or is named in, and decides in its name.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain

from django.contrib.auth import get_permission_codename, get_user_model
from django.contrib.auth.models import User
from django.views.decorators.debug import sensitive_variables

from approvals.exceptions import InvalidRequest
from approvals.queries import origin_resolvers, permissions
from approvals.web.edge import tokens
from approvals.web.edge.tokens import Issued, Scope

# Missing permissions that a refusal names, at most.
NAMED = 3


def may_issue_for_others(maker: User) -> bool:
    """Tell whether this person manages accounts, and may see and change whatever an account has asked."""
    accounts = get_user_model()._meta
    resolvers = origin_resolvers.resolvers().values()
    needed = {
        f"{accounts.app_label}.{get_permission_codename('change', accounts)}",
        f"approvals.{permissions.SEE_ALL}",
        f"approvals.{permissions.MANAGE}",
        *chain.from_iterable(resolver.permissions for resolver in resolvers),
    }
    return maker.has_perms(needed)


@sensitive_variables()
def issue_by(
    maker: User, user: User, name: str, scopes: Collection[str], *, lifetime: float | None = None
) -> Issued:
    """Issue a token for `user`, as `tokens.issue` does.

    InvalidRequest also where it would let `maker` do what `maker` may not.
    """
    if user.pk != maker.pk:
        _require_rights(maker, user, scopes)
    return tokens.issue(user.pk, name, scopes, lifetime=lifetime)


def _require_rights(maker: User, user: User, scopes: Collection[str]) -> None:
    if not may_issue_for_others(maker):
        raise InvalidRequest("user must be you: only administrators make tokens for others.", field="user")
    if user.is_superuser and not maker.is_superuser:
        raise InvalidRequest("user must not be a superuser, unless you are one.", field="user")
    missing = sorted(user.get_all_permissions() - maker.get_all_permissions())
    if missing:
        more = ", …" if len(missing) > NAMED else ""
        named = ", ".join(missing[:NAMED])
        raise InvalidRequest(f"user must not have permissions that you lack: {named}{more}.", field="user")
    if Scope.DECIDE in scopes:
        rule = "must not include decide: nobody decides in the name of another account."
        raise InvalidRequest(f"scopes {rule}", field="scopes")
