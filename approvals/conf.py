"""Sayso's settings for approvals, typed. The values come from Django's settings."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalSettings:
    """Seconds, unless said otherwise."""

    default_timeout: float
    recheck_interval: float
    database_threads: int
    trusted_proxies: tuple[str, ...]
    callback_hosts: tuple[str, ...]
    """Hosts that outcomes may be posted to; `*.example.org`: any below it."""
    callback_networks: tuple[str, ...]
    """Networks that may be posted to although they are not public."""
    recheck_overlap: float = 60.0
    full_reread_interval: float = 600.0
    hint_timeout: float = 2.0
    writer_queue: int = 20_000
    writer_batch: int = 512


def approval_settings() -> ApprovalSettings:
    return ApprovalSettings(
        default_timeout=settings.SAYSO_DEFAULT_TIMEOUT,
        recheck_interval=settings.SAYSO_RECHECK_INTERVAL,
        database_threads=settings.SAYSO_DATABASE_THREADS,
        trusted_proxies=tuple(settings.SAYSO_TRUSTED_PROXIES),
        callback_hosts=tuple(settings.SAYSO_CALLBACK_HOSTS),
        callback_networks=tuple(settings.SAYSO_CALLBACK_NETWORKS),
    )
