"""The credential of a live connection, a session or an API token, and whose it is at this moment.

The database is asked before every act and every event: a credential may have been revoked since the
connection was opened. Sessions need one of Django's engines that keep rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Any, TypeAlias
from uuid import UUID

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from approvals.web.edge import tokens
from approvals.web.edge.asgi import Scope, header_lines

# The key of a session, or the id of a token.
Credential: TypeAlias = str | UUID


def owners(credentials: Collection[Credential]) -> dict[Credential, int]:
    """Return the user ids of these credentials, without those that are not valid any more; three queries."""
    session_keys = [each for each in credentials if isinstance(each, str)]
    token_ids = [each for each in credentials if isinstance(each, UUID)]
    return dict([*_owners_of_sessions(session_keys).items(), *tokens.owners(token_ids).items()])


def secret_of(scope: Scope) -> str | None:
    """Return the token in the headers of a connection; None unless there is exactly one."""
    shown = header_lines(scope, b"authorization")
    return bearer_secret(shown[0]) if len(shown) == 1 else None


def bearer_secret(authorization: str) -> str | None:
    """Return the token in this `Authorization` header; None where it has another scheme."""
    scheme, _, secret = authorization.partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None


def _owners_of_sessions(session_keys: Collection[str]) -> dict[str, int]:
    """Return the user ids of these sessions, by session key; two queries, none for no sessions.

    Left out are sessions that were logged out or have expired, and those of users who are not active any more
    or whose password (or this installation's secret) has changed.
    """
    claims = {key: data for key, data in _session_data(session_keys).items() if _names_a_user(data)}
    users = get_user_model()._default_manager.filter(is_active=True).in_bulk(map(_user_id, claims.values()))
    proofs = {
        user_id: (user.get_session_auth_hash(), *user.get_session_auth_fallback_hash())
        for user_id, user in users.items()
    }
    return {
        key: _user_id(data)
        for key, data in claims.items()
        if any(
            constant_time_compare(data[HASH_SESSION_KEY], proof) for proof in proofs.get(_user_id(data), ())
        )
    }


def _session_data(session_keys: Collection[str]) -> dict[str, dict[str, Any]]:
    store = import_module(settings.SESSION_ENGINE).SessionStore
    rows = store.get_model_class().objects.filter(
        session_key__in=set(session_keys), expire_date__gt=timezone.now()
    )
    decode = store().decode
    return {key: decode(data) for key, data in rows.values_list("session_key", "session_data")}


def _names_a_user(data: Mapping[str, Any]) -> bool:
    known_backend = data.get(BACKEND_SESSION_KEY) in settings.AUTHENTICATION_BACKENDS
    return known_backend and SESSION_KEY in data and HASH_SESSION_KEY in data


def _user_id(data: Mapping[str, Any]) -> int:
    user_id: int = get_user_model()._meta.pk.to_python(data[SESSION_KEY])
    return user_id
