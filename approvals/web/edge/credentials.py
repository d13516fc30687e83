"""What a live connection stands on, a session or an API token, and whose that is right now.

Asked of the database before every act and every event: what was true when the connection opened says nothing
about now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeAlias
from uuid import UUID

from approvals.web.edge import sessions, tokens

# The key of a session, or the id of a token.
Credential: TypeAlias = str | UUID


def owners(credentials: Collection[Credential]) -> dict[Credential, int]:
    """Whose these are, by credential; four queries at most, however many. Left out is what does not hold."""
    session_keys = [each for each in credentials if isinstance(each, str)]
    token_ids = [each for each in credentials if isinstance(each, UUID)]
    return dict([*sessions.owners(session_keys).items(), *tokens.owners(token_ids).items()])


def secret_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The token that these headers of a connection show; None unless they show exactly one."""
    shown = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
    return bearer_secret(shown[0]) if len(shown) == 1 else None


def bearer_secret(authorization: str) -> str | None:
    """The token in this `Authorization` header; None where it is of another scheme."""
    scheme, _, secret = authorization.partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None
