"""The addresses of destinations, which may hold secrets: encrypted where they are stored.

The key is derived from SECRET_KEY. While that is changed, SECRET_KEY_FALLBACKS holds the former one, by which
older addresses are still read; an address that was saved since is under the new key.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.utils.crypto import salted_hmac

from approvals.domain.telling import DestinationKind

_SALT = "approvals.delivery.addresses"


def encrypt(address: str) -> str:
    """Return the address as it is stored."""
    return _cipher().encrypt(address.encode()).decode()


def decrypt(stored: str) -> str | None:
    """Return a stored address; None where no key of this installation opens it."""
    try:
        return _cipher().decrypt(stored.encode()).decode()
    except InvalidToken:
        return None


def abbreviate(kind: str, stored: str) -> str:
    """Return what may be shown of a stored address: enough to tell it from others, and no secret."""
    address = decrypt(stored) if stored else ""
    if address is None:
        return "an address that can't be read: the secret key has changed"
    if kind == DestinationKind.WEBHOOK:
        found = re.match(r"[^/]*//[^/?#]*", address)
        return f"{found.group()}/…" if found else ""
    return f"{address.partition(':')[0]}://…" if kind == DestinationKind.CHAT else address


def _cipher() -> MultiFernet:
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    derived = (salted_hmac(_SALT, "key", secret=key, algorithm="sha256").digest() for key in keys)
    return MultiFernet([Fernet(urlsafe_b64encode(each)) for each in derived])
