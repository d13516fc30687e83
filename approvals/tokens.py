"""API tokens: what a program shows to act as its user. Issued once, kept as a hash, revocable at any moment.

A revocation is hinted on the topic `tokens`, so that open sockets and waits end at once in every process.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet

from approvals import hints
from approvals.database import database_now
from approvals.exceptions import InvalidRequest
from approvals.models import ApiToken
from approvals.payloads import checked_text, seconds

TOPIC = "tokens"
PREFIX = "sayso_"
NAME_LIMIT = 100
# What is kept in clear, to tell tokens apart.
SHOWN_CHARACTERS = 12
# No write for each use: the last one is known to the minute.
USE_INTERVAL = timedelta(minutes=1)


class Scope(StrEnum):
    """What a token may be used for, at most; its user's own permissions still decide."""

    ASK = "ask"
    DECIDE = "decide"
    READ = "read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """Who shows a token that holds at this moment."""

    token_id: UUID
    user_id: int
    scopes: frozenset[Scope]


def issue(
    user_id: int, name: str, scopes: Collection[str], *, lifetime: float | None = None
) -> tuple[ApiToken, str]:
    """A new token and its secret, which is shown now or never. `lifetime` is in seconds; None: no end.

    Raises InvalidRequest naming `user`, `name`, `scopes` or `lifetime`.
    """
    name = checked_text(name, "name", max_length=NAME_LIMIT, required=True, one_line=True)
    lifetime = seconds(lifetime, "lifetime", none_allowed=True)
    if not get_user_model()._default_manager.filter(pk=user_id, is_active=True).exists():
        raise InvalidRequest("A token is issued to an active user.", field="user")
    secret = PREFIX + secrets.token_urlsafe(32)
    now = database_now()
    token = ApiToken(
        user_id=user_id,
        name=name,
        prefix=secret[:SHOWN_CHARACTERS],
        secret_hash=_hash(secret),
        scopes=_checked(scopes),
        created_at=now,
        expires_at=None if lifetime is None else now + timedelta(seconds=lifetime),
    )
    ApiToken.writing.bulk_create([token])
    return token, secret


def bearer(secret: str) -> Bearer | None:
    """Who shows this secret; None where it is no token's, or not any more. Notes the use."""
    now = database_now()
    token = _holding(now).filter(secret_hash=_hash(secret)).first()
    if token is None:
        return None
    if token.last_used_at is None or token.last_used_at <= now - USE_INTERVAL:
        ApiToken.writing.filter(pk=token.pk).update(last_used_at=now)
    return Bearer(token_id=token.pk, user_id=token.user_id, scopes=frozenset(map(Scope, token.scopes)))


def owners(token_ids: Collection[UUID]) -> dict[UUID, int]:
    """Whose these tokens are, by token; left out is what does not hold any more. One query."""
    if not token_ids:
        return {}
    return dict(_holding(database_now()).filter(pk__in=token_ids).values_list("pk", "user_id"))


def revoke(token_id: UUID, by_user_id: int | None) -> bool:
    """End a token for ever. False: it had been revoked before, or there is none."""
    revoked = ApiToken.writing.filter(pk=token_id, revoked_at__isnull=True).update(
        revoked_at=database_now(), revoked_by_id=by_user_id
    )
    if revoked:
        hints.send(TOPIC, [token_id])
    return bool(revoked)


def revoked_since(moment: datetime) -> list[UUID]:
    """Tokens that were revoked at `moment` (database clock) or later."""
    return list(ApiToken.objects.filter(revoked_at__gte=moment).values_list("pk", flat=True))


def _holding(now: datetime) -> QuerySet[ApiToken]:
    in_time = Q(expires_at__isnull=True) | Q(expires_at__gt=now)
    return ApiToken.objects.filter(in_time, revoked_at__isnull=True, user__is_active=True)


def _hash(secret: str) -> str:
    """A secret has 256 random bits: nothing slower than SHA-256 is needed to keep it from being guessed."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _checked(scopes: Collection[str]) -> list[str]:
    wanted = sorted(set(scopes))
    unknown = [scope for scope in wanted if scope not in set(Scope)]
    if unknown or not wanted:
        raise InvalidRequest(f"The scopes of a token are some of: {', '.join(Scope)}.", field="scopes")
    return wanted
