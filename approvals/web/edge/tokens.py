"""API tokens, with which programs act as their users: shown once, kept as hashes, revocable at any moment.

A revocation is hinted on the topic `tokens`, so that open sockets and waits end at once in every process.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache, partial
from typing import Any, TypeAlias
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import Case, Q, QuerySet, Value, When
from django.db.models.functions import Now

from approvals.database import bulk, conversions
from approvals.database.clock import database_now
from approvals.database.pipeline import execute
from approvals.domain.lifecycle import REMOVED
from approvals.domain.payloads import check_text, seconds
from approvals.exceptions import InvalidRequest
from approvals.models import ApiToken
from approvals.process import hints

TOPIC = "tokens"
PREFIX = "sayso_"
NAME_LIMIT = 100
# How much of a secret is kept in clear, to tell tokens apart.
SHOWN_CHARACTERS = 12
# The last use is known to the minute only, so that not every use costs a write.
USE_INTERVAL = timedelta(minutes=1)


class Scope(StrEnum):
    """What a token may be used for, at most; its user's own permissions still decide."""

    ASK = "ask"
    DECIDE = "decide"
    READ = "read"


# What tokens are good for unless somebody says otherwise.
DEFAULT_SCOPES = (Scope.ASK, Scope.READ)


class State(StrEnum):
    """Whether a token can be used at a moment: only where it is active."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"
    SUSPENDED = "suspended"
    """Its user may not log in any more; it holds again if that is taken back."""


# A new token, and its secret.
Issued: TypeAlias = tuple[ApiToken, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """The user and the scopes of a token that is valid at this moment."""

    token_id: UUID
    user_id: int
    scopes: frozenset[Scope]


def issue(user_id: int, name: str, scopes: Collection[str], *, lifetime: float | None = None) -> Issued:
    """Issue a token; return it with its secret, which is kept nowhere. `lifetime` in seconds; None: no end.

    Names need not differ: the `prefix` tells tokens apart. Raises InvalidRequest naming `user`, `name`,
    `scopes` or `lifetime`.
    """
    name = check_text(name, "name", max_length=NAME_LIMIT, required=True, one_line=True)
    scopes = _check_scopes(scopes)
    lifetime = _check_lifetime(lifetime)
    if not get_user_model()._default_manager.filter(pk=user_id, is_active=True).exists():
        raise InvalidRequest("user must be an active one.", field="user")
    secret = PREFIX + secrets.token_urlsafe(32)
    now = database_now()
    token = ApiToken(
        user_id=user_id,
        name=name,
        prefix=secret[:SHOWN_CHARACTERS],
        secret_hash=_hash(secret),
        scopes=scopes,
        created_at=now,
        expires_at=None if lifetime is None else now + timedelta(seconds=lifetime),
    )
    ApiToken.writing.bulk_create([token])
    return token, secret


def bearer(secret: str) -> Bearer | None:
    """Return who shows this secret, and note the use; None where it is unknown, expired or revoked."""
    token = _holding().annotate(now=Now()).filter(secret_hash=_hash(secret)).first()
    if token is None:
        return None
    _note_use(token, token.now)
    return Bearer(token_id=token.pk, user_id=token.user_id, scopes=frozenset(map(Scope, token.scopes)))


def of_user(user_id: int) -> QuerySet[Any]:
    """Return the tokens that act as this user, the newest first, each with its `state` now."""
    held = ApiToken.objects.filter(user_id=user_id).order_by("-created_at", "-pk")
    return with_state(held, Now())


def owners(token_ids: Collection[UUID]) -> dict[UUID, int]:
    """Return the user ids of these tokens, without those that are not valid any more; at most one query."""
    return ask_for_owners(token_ids)()


def ask_for_owners(token_ids: Collection[UUID]) -> Callable[[], dict[UUID, int]]:
    """Request the users of these tokens; call the result to get their ids.

    Left out are tokens that are not valid any more.
    """
    if not token_ids:
        return dict
    statement, parameters = _owners_statement(connection.vendor)
    found = execute(statement, [*parameters, bulk.values(token_ids)])
    return lambda: {conversions.as_uuid(token_id): user_id for token_id, user_id in found.rows()}


def name_of(token_id: UUID) -> str:
    """Return the name of a token, valid or not; empty if there is none."""
    return ApiToken.objects.filter(pk=token_id).values_list("name", flat=True).first() or ""


def revoke(token_id: UUID, by_user_id: int | None) -> bool:
    """Revoke a token for ever, and send the hint after the commit.

    False: it had been revoked before, by whoever the row names, or there is none.
    """
    revoked = ApiToken.writing.filter(pk=token_id, revoked_at__isnull=True).update(
        revoked_at=database_now(), revoked_by_id=by_user_id
    )
    if revoked:
        transaction.on_commit(partial(hints.send, TOPIC, [token_id]), robust=True)
    return bool(revoked)


def end_all(user_id: int, by_user_id: int | None) -> int:
    """Revoke this user's tokens for ever, and remove their names, which may tell whose they were."""
    held = ApiToken.writing.filter(user_id=user_id)
    holding = list(held.filter(revoked_at__isnull=True).values_list("pk", flat=True))
    held.update(name=REMOVED)
    return sum(revoke(token_id, by_user_id) for token_id in holding)


def revoked_since(moment: datetime) -> dict[UUID, datetime | None]:
    """Return the tokens that were revoked at `moment` (database clock) or later, and when."""
    return dict(ApiToken.objects.filter(revoked_at__gte=moment).values_list("pk", "revoked_at"))


def with_state(tokens: QuerySet[ApiToken], now: datetime | Now) -> QuerySet[Any]:
    """Add to each of these tokens its `state` at `now` (database clock)."""
    state = Case(
        When(revoked_at__isnull=False, then=Value(State.REVOKED.value)),
        When(expires_at__lte=now, then=Value(State.EXPIRED.value)),
        When(user__is_active=False, then=Value(State.SUSPENDED.value)),
        default=Value(State.ACTIVE.value),
    )
    return tokens.annotate(state=state)


def _holding() -> QuerySet[Any]:
    return with_state(ApiToken.objects.all(), Now()).filter(state=State.ACTIVE.value)


@cache
def _owners_statement(vendor: str) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that reads the users of valid tokens, and its first parameters."""
    text, parameters = _holding().order_by().values_list("pk").query.sql_with_params()
    chosen = f"id IN ({text}) AND {bulk.among('id')}"
    return f"SELECT id, user_id FROM {bulk.table(ApiToken)} WHERE {chosen}", parameters  # noqa: S608


def _note_use(token: ApiToken, now: datetime) -> None:
    """Note the use, if the last one noted is old; the UPDATE tests that again, for several uses at once."""
    before = now - USE_INTERVAL
    if token.last_used_at is None or token.last_used_at <= before:
        unnoted = Q(last_used_at__isnull=True) | Q(last_used_at__lte=before)
        ApiToken.writing.filter(unnoted, pk=token.pk).update(last_used_at=now)


def _hash(secret: str) -> str:
    """Hash a secret; its 256 random bits can't be guessed, so that SHA-256 is slow enough."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _check_scopes(scopes: Collection[str]) -> list[str]:
    wanted = sorted(set(scopes))
    unknown = [scope for scope in wanted if scope not in set(Scope)]
    if unknown or not wanted:
        raise InvalidRequest(f"scopes must be some of: {', '.join(Scope)}.", field="scopes")
    return wanted


def _check_lifetime(lifetime: float | None) -> float | None:
    lifetime = seconds(lifetime, "lifetime", none_allowed=True)
    if lifetime == 0:
        raise InvalidRequest("lifetime must be more than 0 seconds.", field="lifetime")
    return lifetime
