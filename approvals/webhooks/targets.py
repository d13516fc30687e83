"""Where outcomes may be posted: to hosts that the installation names, at public or allowed addresses."""

from __future__ import annotations

import httpx

from approvals.conf import approval_settings
from approvals.exceptions import InvalidRequest
from approvals.payloads import checked_text

URL_LIMIT = 2000


def checked_callback_url(value: object) -> str:
    """The URL itself, if outcomes may be posted there. InvalidRequest names the rule; "" is none."""
    text = checked_text(value, "callback_url", max_length=URL_LIMIT, one_line=True)
    if text:
        check_target(text)
    return text


def check_target(text: str) -> httpx.URL:
    """InvalidRequest where the installation posts nothing to this URL, whatever its host resolves to."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise _refused(f"This is no URL: {error}.") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise _refused("A callback URL begins with https:// or http:// and names a host.")
    if url.userinfo or url.fragment:
        raise _refused("A callback URL has no user, password or fragment.")
    if not any(_matches(pattern, url.host) for pattern in approval_settings().callback_hosts):
        raise _refused("This host is none of those that the installation allows (SAYSO_CALLBACK_HOSTS).")
    return url


def _matches(pattern: str, host: str) -> bool:
    """`*.example.org` stands for every host below example.org."""
    if pattern.startswith("*."):
        return host.endswith(pattern[1:].lower())
    return host == pattern.lower()


def _refused(detail: str) -> InvalidRequest:
    return InvalidRequest(detail, field="callback_url")
