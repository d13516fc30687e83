"""Signed messages of outcomes, by the Standard Webhooks scheme.

The body is `{"type": "request.closed", "timestamp": …, "data": {"key": …, "outcome": {…}}}`: the same bytes
at each attempt, under the same `webhook-id`. `webhook-timestamp` is when the attempt began, by the database's
clock.

Messages are signed with the secret of the asking user (`manage.py webhook_secret`), or with that of the
installation if no user asked. What people and groups are told (approvals.delivery.webhooks.events) is signed
with theirs. Secrets are derived from SECRET_KEY, so none is stored. While SECRET_KEY is
changed, SECRET_KEY_FALLBACKS holds the former one, and each message carries a signature for both: receivers
may change over at any time between.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.utils.crypto import salted_hmac
from standardwebhooks import Webhook

from approvals import queries
from approvals.domain.payloads import canonical
from approvals.writer.callbacks import Due

TYPE = "request.closed"
USER_AGENT = "Sayso-Webhooks"

_SALT = "sayso.webhooks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Headers and body to post."""

    headers: dict[str, str]
    body: bytes


def message_of(due: Due) -> Message:
    """Return the signed message of a callback that is due."""
    outcome = queries.outcome_on_the_wire(due.outcome) | due.beside
    body = canonical(
        {
            "type": TYPE,
            "timestamp": outcome["decided_at"],
            "data": {"key": due.key or None, "outcome": outcome},
        }
    )
    return signed(str(due.id), due.claimed_at, body, secrets_of(due.requester_id))


def secrets_of(user_id: int | None) -> list[str]:
    """Return the secrets that sign this user's messages, the current one first; None: the installation's."""
    return _derived("installation" if user_id is None else f"user:{user_id}")


def secrets_of_group(group_id: int) -> list[str]:
    """Return the secrets that sign what is posted to this group, the current one first."""
    return _derived(f"group:{group_id}")


def _derived(name: str) -> list[str]:
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    digests = (salted_hmac(_SALT, name, secret=key, algorithm="sha256").digest() for key in keys)
    return [f"whsec_{base64.b64encode(digest).decode()}" for digest in digests]


def signed(name: str, moment: datetime, body: str, secrets: Sequence[str]) -> Message:
    """Return the message with this id, tried at this moment, signed with each of these secrets."""
    headers = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        # The answer's body is not used, so it need not be compressed.
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "webhook-id": name,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(name, moment, body) for secret in secrets),
    }
    return Message(headers=headers, body=body.encode())
