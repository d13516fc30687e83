"""Links for emails and other places outside of our pages: each begins with SAYSO_URL.

No link is made from a request's Host header, in which its sender may write anything.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.urls import NoReverseMatch, get_script_prefix, get_urlconf, reverse, set_script_prefix

from approvals.conf import own_url

# In place of an id, in the address of a page.
_NONE = str(UUID(int=0))

# Plain names only: "//host" would lead elsewhere.
_PREFIX = re.compile(r"(/[\w~-][\w.~-]*)+", re.ASCII)


def are_set_up() -> bool:
    """Whether this installation knows its own address."""
    return bool(own_url())


def link_to(name: str, **arguments: Any) -> str:
    """Return the absolute URL of this page; RuntimeError where SAYSO_URL is not set."""
    base = own_url()
    if not base:
        raise RuntimeError("SAYSO_URL is not set: no link can be made")
    return f"{base}{path_to(name, **arguments)}"


def address_of(name: str, **arguments: Any) -> str:
    """Return the absolute URL of this page: its path where SAYSO_URL is not set, "" where no URL has it."""
    try:
        return f"{own_url()}{path_to(name, **arguments)}"
    except NoReverseMatch:
        return ""


def page_of(request_id: UUID | str) -> str:
    """Return the URL of a request's page, as `address_of` does, at a tenth of its cost."""
    urlconf = get_urlconf() or settings.ROOT_URLCONF
    return _page_of_none(urlconf, own_url()).replace(_NONE, str(request_id))


@lru_cache(maxsize=8)
def _page_of_none(urlconf: str, url: str) -> str:
    return address_of("request", request_id=_NONE)


def path_to(name: str, **arguments: Any) -> str:
    """Return the page's path below SAYSO_URL, without the path prefix of the current request."""
    prefix = get_script_prefix()
    set_script_prefix("/")
    try:
        return reverse(name, kwargs=arguments)
    finally:
        set_script_prefix(prefix)


def prefix() -> str:
    """Return the path prefix in SAYSO_URL, such as "/sayso"; "" without one."""
    return urlsplit(own_url()).path


def is_prefix(path: str) -> bool:
    """Whether an installation can be served below this path: "/sayso", "/tools/sayso"."""
    return _PREFIX.fullmatch(path) is not None


def fault_of(url: str) -> str | None:
    """Return why this can't be SAYSO_URL; None if it can."""
    try:
        parts = urlsplit(url)
        port_fits = parts.port != 0
    except ValueError as error:
        return f"is not a URL: {error}"
    path = parts.path.rstrip("/")
    faults = [
        ("must begin with https:// or http://", parts.scheme not in {"https", "http"}),
        ("must name a host", not parts.hostname or not port_fits),
        ("must not contain a user's name or password", "@" in parts.netloc),
        ("must end with the path prefix, if any: no query, no fragment", bool(parts.query or parts.fragment)),
        ("is the address of the pages: leave /api/v1 out", path.endswith("/api/v1")),
        ("must have a path prefix of plain names", path != "" and not is_prefix(path)),
    ]
    return next((fault for fault, there in faults if there), None)
