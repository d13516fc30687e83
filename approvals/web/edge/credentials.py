"""The credential of a live connection, a session or an API token, and whose it is at this moment.

The database is asked before every act and every event: a credential may have been revoked since the
connection was opened.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeAlias
from uuid import UUID

from approvals.web.edge import sessions, tokens

# The key of a session, or the id of a token.
Credential: TypeAlias = str | UUID


def owners(credentials: Collection[Credential]) -> dict[Credential, int]:
    """Return the user ids of these credentials, without those that are not valid any more; three queries."""
    session_keys = [each for each in credentials if isinstance(each, str)]
    token_ids = [each for each in credentials if isinstance(each, UUID)]
    return dict([*sessions.owners(session_keys).items(), *tokens.owners(token_ids).items()])


def secret_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the token in the headers of a connection; None unless there is exactly one."""
    shown = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
    return bearer_secret(shown[0]) if len(shown) == 1 else None


def bearer_secret(authorization: str) -> str | None:
    """Return the token in this `Authorization` header; None where it has another scheme."""
    scheme, _, secret = authorization.partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None
