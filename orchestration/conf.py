"""The typed settings of orchestration, from Django's settings; approvals.conf says where they are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from approvals.conf import read, settings_class

LOCAL = "local"
PROCRASTINATE = "procrastinate"


@settings_class
@dataclass(frozen=True, slots=True, kw_only=True)
class OrchestrationSettings:
    """The settings; durations are in seconds."""

    engine: str = LOCAL
    """Where runs execute: "local", in the processes that serve; "procrastinate", in workers."""
    drain: float = 5.0
    """How long executing steps may take to end when their process stops."""
    lease: float = 30.0
    """How long a process gives no sign of life before others take over its runs."""
    trace_exporters: tuple[str, ...] = ()
    """Exporters of spans, by OpenTelemetry's names."""
    metrics_token: str = ""
    """The bearer token of /metrics; "": programs on this computer may read it."""
    channel_prefix: str = "sayso"
    """The prefix of the channel layer's names, which the benchmark shares."""
    commands: tuple[str, ...] = ()
    """What built-in agents may reach: this and the four below; see policies/allowlists.py."""
    http_hosts: tuple[str, ...] = ()
    http_networks: tuple[str, ...] = ()
    cleanup_directories: tuple[str, ...] = ()
    email_recipients: tuple[str, ...] = ()
    apps_dir: Path | None = None
    """Where `new_orchestration` writes; None in a project of one's own."""
    claim_batch: int = 500
    step_threads: int = 32
    speech_interval: float = 0.1
    lease_renewal: float = 0.0
    """0: a third of the lease."""
    heartbeat: float = 0.0
    """How often a worker reports that it lives and looks for runs of dead ones; 0: a sixth of the lease."""
    heartbeat_lost: float = 0.0
    """A worker without a heartbeat for so long counts as dead; 0: two thirds of the lease."""

    def __post_init__(self) -> None:
        shares = {
            "lease_renewal": self.lease / 3,
            # More often than leases are renewed: taking over thousands of runs takes time as well.
            "heartbeat": self.lease / 6,
            "heartbeat_lost": self.lease * 2 / 3,
        }
        for name, share in shares.items():
            object.__setattr__(self, name, getattr(self, name) or share)


def orchestration_settings() -> OrchestrationSettings:
    """Read the settings as they are now."""
    told = read(OrchestrationSettings)
    if told.get("apps_dir") is not None:
        told["apps_dir"] = Path(told["apps_dir"])
    return OrchestrationSettings(**told)
