"""The typed settings of orchestration, from Django's settings.

To add one: a variable in config/settings.py, a field and a line here, a check in checks.py, a row in
docs/deployment.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

LOCAL = "local"
PROCRASTINATE = "procrastinate"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrchestrationSettings:
    """The settings; durations are in seconds."""

    engine: str
    var: Path
    drain: float
    """How long executing steps may take to end when their process stops."""
    lease: float
    lease_renewal: float
    heartbeat: float
    """How often a worker reports that it lives, and looks for runs of dead workers."""
    heartbeat_lost: float
    """A worker without a heartbeat for so long counts as dead."""
    trace_exporters: tuple[str, ...]
    """Exporters of spans, by OpenTelemetry's names."""
    commands: tuple[str, ...]
    """What built-in agents may reach: this and the four below; see policies/allowlists.py."""
    http_hosts: tuple[str, ...]
    http_networks: tuple[str, ...]
    cleanup_directories: tuple[str, ...]
    email_recipients: tuple[str, ...]
    apps_dir: Path | None
    """Where `new_orchestration` writes; None in a project of one's own."""
    claim_batch: int = 500
    step_threads: int = 32
    speech_interval: float = 0.1


def orchestration_settings() -> OrchestrationSettings:
    """Read the settings as they are now."""
    lease: float = settings.SAYSO_LEASE
    return OrchestrationSettings(
        engine=settings.SAYSO_ENGINE,
        var=settings.VAR,
        drain=settings.SAYSO_DRAIN,
        lease=lease,
        lease_renewal=lease / 3,
        # More often than leases are renewed: taking over thousands of runs takes time as well.
        heartbeat=lease / 6,
        heartbeat_lost=lease * 2 / 3,
        trace_exporters=tuple(settings.SAYSO_TRACE_EXPORTERS),
        commands=_list_setting("COMMANDS"),
        http_hosts=_list_setting("HTTP_HOSTS"),
        http_networks=_list_setting("HTTP_NETWORKS"),
        cleanup_directories=_list_setting("CLEANUP_DIRECTORIES"),
        email_recipients=_list_setting("EMAIL_RECIPIENTS"),
        apps_dir=getattr(settings, "SAYSO_APPS_DIR", None),
    )


def _list_setting(name: str) -> tuple[str, ...]:
    """Return the setting `SAYSO_<name>`, else `SAYSO["<name>"]`, else nothing."""
    values: Sequence[str] = getattr(settings, f"SAYSO_{name}", getattr(settings, "SAYSO", {}).get(name, ()))
    return tuple(values)
