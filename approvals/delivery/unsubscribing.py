"""The link by which a message's reader unsubscribes (RFC 8058): its token is the only authority there is.

It holds for one destination, does not expire, and can do nothing else.
"""

from __future__ import annotations

from django.core import signing

from approvals import links
from approvals.conf import own_url

_SALT = "approvals.delivery.unsubscribing"


def headers_of(destination_id: int) -> dict[str, str]:
    """Return the headers for mail to this destination; mail programs offer one click over https only."""
    link = links.link_to("unsubscribe", token=token_of(destination_id))
    headers = {"List-Unsubscribe": f"<{link}>"}
    if own_url().startswith("https://"):
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return headers


def token_of(destination_id: int) -> str:
    """Return the token that ends messages to this destination."""
    return _signer().sign(str(destination_id))


def destination_of(token: str) -> int | None:
    """Return the destination that this token was made for; None: it was made for none."""
    try:
        return int(_signer().unsign(token))
    except signing.BadSignature:
        return None


def _signer() -> signing.Signer:
    return signing.Signer(sep=".", salt=_SALT)
