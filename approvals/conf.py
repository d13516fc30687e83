"""The typed settings of approvals, from Django's settings.

To add one: a variable in config/settings.py, a field and a line here, a check in checks.py, a row in
docs/deployment.md. Fields with a default here have no variable: they are for tests and for projects of one's
own.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalSettings:
    """Settings of approvals. Times are in seconds, unless said otherwise."""

    url: str
    """The installation's address, without a slash at the end; "": no links can be made."""
    default_timeout: float
    """How long a request waits that names no `timeout`; the limits are in domain/request_terms.py."""
    approve_on_timeout: str
    """Which requests a deadline may approve: "single", those that need one approval; "any", all."""
    recheck_interval: float
    database_threads: int
    trusted_proxies: tuple[str, ...]
    callback_hosts: tuple[str, ...]
    """Hosts that outcomes may be posted to; `*.example.org` is any host below it."""
    callback_networks: tuple[str, ...]
    """Networks that outcomes may be posted to although they are not public."""
    rate_limit: float
    """Requests a second of one user; 0: no limit, as with the four below."""
    address_rate_limit: float
    """Requests a second from one address."""
    login_rate_limit: float
    """Wrong passwords a minute for one name."""
    sockets_per_user: int
    sockets_per_address: int
    writer_queue: int
    """Commands that may wait for the writer; beyond, callers get `Busy`."""
    requests_per_user: int
    """Pending requests of one account, asked over HTTP; 0: no limit, as with the bytes."""
    bytes_per_user: int
    seal_key: str
    """The file of the private key that seals are signed with; "" for none."""
    recheck_overlap: float = 60.0
    full_reread_interval: float = 600.0
    hint_timeout: float = 2.0
    hearing_interval: float = 2.0
    """Interval of the listener's own checks, and of the re-check while the listener does not hear."""
    writer_batch: int = 512


def approval_settings() -> ApprovalSettings:
    """Read the settings as they are now."""
    return ApprovalSettings(
        url=settings.SAYSO_URL.rstrip("/"),
        default_timeout=settings.SAYSO_DEFAULT_TIMEOUT,
        approve_on_timeout=settings.SAYSO_APPROVE_ON_TIMEOUT,
        recheck_interval=settings.SAYSO_RECHECK_INTERVAL,
        database_threads=settings.SAYSO_DATABASE_THREADS,
        trusted_proxies=tuple(settings.SAYSO_TRUSTED_PROXIES),
        callback_hosts=tuple(settings.SAYSO_CALLBACK_HOSTS),
        callback_networks=tuple(settings.SAYSO_CALLBACK_NETWORKS),
        rate_limit=settings.SAYSO_RATE_LIMIT,
        address_rate_limit=settings.SAYSO_ADDRESS_RATE_LIMIT,
        login_rate_limit=settings.SAYSO_LOGIN_RATE_LIMIT,
        sockets_per_user=settings.SAYSO_SOCKETS_PER_USER,
        sockets_per_address=settings.SAYSO_SOCKETS_PER_ADDRESS,
        writer_queue=settings.SAYSO_WRITER_QUEUE,
        requests_per_user=settings.SAYSO_REQUESTS_PER_USER,
        bytes_per_user=settings.SAYSO_BYTES_PER_USER,
        seal_key=settings.SAYSO_SEAL_KEY,
    )
