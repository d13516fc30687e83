"""The credential of a live connection, a session or an API token, and whose it is at this moment.

The database is asked before every act and every event: a credential may have been revoked since the
connection was opened. Sessions need one of Django's engines that keep rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connection
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from approvals.database import bulk
from approvals.database.pipeline import execute, together
from approvals.web.edge import tokens
from approvals.web.edge.asgi import Scope, header_lines

# The key of a session, or the id of a token.
Credential: TypeAlias = str | UUID


class Claims(NamedTuple):
    """Whose credentials say they are: what sessions hold, still to be proven; the users of valid tokens."""

    sessions: Mapping[str, Mapping[str, Any]]
    tokens: Mapping[UUID, int]

    @property
    def user_ids(self) -> set[int]:
        return {*map(_user_id, self.sessions.values()), *self.tokens.values()}


def owners(credentials: Collection[Credential]) -> dict[Credential, int]:
    """Return the user ids of these credentials, without those that are not valid any more; two messages."""
    with together():
        claims = ask_for_claims(credentials)
        return ask_for_owners(claims, claims().user_ids)()


def ask_for_claims(credentials: Collection[Credential]) -> Callable[[], Claims]:
    """Request what these sessions and tokens say now; call the result to get it."""
    sessions = _ask_for_sessions([each for each in credentials if isinstance(each, str)])
    held = tokens.ask_for_owners([each for each in credentials if isinstance(each, UUID)])
    return lambda: Claims(sessions=sessions(), tokens=held())


def ask_for_owners(
    claims: Callable[[], Claims], user_ids: Collection[int]
) -> Callable[[], dict[Credential, int]]:
    """Request which of these users own the credentials; call the result to get their ids.

    Left out are sessions that were logged out or have expired, and those of users who are not active any more
    or whose password (or this installation's secret) has changed; and credentials of other users.
    """
    users = _ask_for_users(user_ids)

    def prove() -> dict[Credential, int]:
        said, proofs = claims(), {user.pk: _proofs_of(user) for user in users()}
        sessions = {
            key: _user_id(data)
            for key, data in said.sessions.items()
            if _proves(data, proofs.get(_user_id(data), ()))
        }
        held = {token_id: user_id for token_id, user_id in said.tokens.items() if user_id in user_ids}
        return dict([*sessions.items(), *held.items()])

    return prove


def secret_of(scope: Scope) -> str | None:
    """Return the token in the headers of a connection; None unless there is exactly one."""
    shown = header_lines(scope, b"authorization")
    return bearer_secret(shown[0]) if len(shown) == 1 else None


def bearer_secret(authorization: str) -> str | None:
    """Return the token in this `Authorization` header; None where it has another scheme."""
    scheme, _, secret = authorization.partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None


def _ask_for_sessions(session_keys: Collection[str]) -> Callable[[], dict[str, Mapping[str, Any]]]:
    """Request what is in these sessions; call the result to get it, without those that name no user."""
    # No session has such a key, and PostgreSQL takes no text with it.
    wanted = [key for key in session_keys if "\0" not in key]
    if not wanted:
        return dict
    store = import_module(settings.SESSION_ENGINE).SessionStore
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    found = execute(_sessions_statement(store, connection.vendor), [bulk.values(wanted), now])
    decode = store().decode

    def read() -> dict[str, Mapping[str, Any]]:
        said = {key: decode(data) for key, data in found.rows()}
        return {key: data for key, data in said.items() if _names_a_user(data)}

    return read


def _ask_for_users(user_ids: Collection[int]) -> Callable[[], list[AbstractBaseUser]]:
    """Request those of these users who are active; call the result to get them."""
    if not user_ids:
        return list
    statement, parameters = _users_statement(connection.vendor)
    found = execute(statement, [*parameters, bulk.values(user_ids)])
    return lambda: bulk.instances(get_user_model(), found.rows())


@cache
def _sessions_statement(store: Any, vendor: str) -> str:
    table = bulk.table(store.get_model_class())
    among = bulk.among("session_key")
    return f"SELECT session_key, session_data FROM {table} WHERE {among} AND expire_date > %s"  # noqa: S608


@cache
def _users_statement(vendor: str) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that reads active users, and its first parameters."""
    user = get_user_model()
    key, names = bulk.column(user, "pk"), ", ".join(bulk.select(user).names)
    # As the model's manager has them, which may leave out some.
    active = user._default_manager.filter(is_active=True).order_by().values_list("pk")
    text, parameters = active.query.sql_with_params()
    chosen = f"{key} IN ({text}) AND {bulk.among(key)}"
    return f"SELECT {names} FROM {bulk.table(user)} WHERE {chosen}", parameters  # noqa: S608


def _proofs_of(user: Any) -> list[str]:
    """Return what a session of this user may have as its proof."""
    return [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]


def _names_a_user(data: Mapping[str, Any]) -> bool:
    known_backend = data.get(BACKEND_SESSION_KEY) in settings.AUTHENTICATION_BACKENDS
    return known_backend and SESSION_KEY in data and HASH_SESSION_KEY in data


def _proves(data: Mapping[str, Any], proofs: Iterable[str]) -> bool:
    return any(constant_time_compare(data[HASH_SESSION_KEY], proof) for proof in proofs)


def _user_id(data: Mapping[str, Any]) -> int:
    user_id: int = get_user_model()._meta.pk.to_python(data[SESSION_KEY])
    return user_id
