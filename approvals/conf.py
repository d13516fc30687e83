"""Sayso's settings for approvals, typed. The values come from Django's settings."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalSettings:
    """Seconds, unless said otherwise."""

    url: str
    """The installation's address, without a slash at its end; "": links can't be made."""
    default_timeout: float
    approve_on_timeout: str
    """Where a deadline may approve: "single", where one approval is enough; "any", also where several or four
    eyes are asked for."""
    recheck_interval: float
    database_threads: int
    trusted_proxies: tuple[str, ...]
    callback_hosts: tuple[str, ...]
    """Hosts that outcomes may be posted to; `*.example.org`: any below it."""
    callback_networks: tuple[str, ...]
    """Networks that may be posted to although they are not public."""
    rate_limit: float
    """Requests a second of one user; nought: no limit. So with the four below."""
    address_rate_limit: float
    """Requests a second from one address."""
    login_rate_limit: float
    """Wrong passwords a minute for one name."""
    sockets_per_user: int
    sockets_per_address: int
    writer_queue: int
    """Commands that may wait for the writer; with more, callers are told that it is busy."""
    requests_per_user: int
    """Requests of one account, asked over HTTP, that may be pending; 0: no limit. So with the bytes."""
    bytes_per_user: int
    seal_key: str
    """The file of the private key that seals are signed with; "" for none."""
    recheck_overlap: float = 60.0
    full_reread_interval: float = 600.0
    hint_timeout: float = 2.0
    hearing_interval: float = 2.0
    """How often the listener proves that it hears; the most between two re-checks while it does not."""
    writer_batch: int = 512


def approval_settings() -> ApprovalSettings:
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
