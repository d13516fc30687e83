"""Sayso's settings for orchestration, typed. The values come from Django's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from django.conf import settings


@dataclass(frozen=True, slots=True, kw_only=True)
class OrchestrationSettings:
    """Seconds, unless said otherwise."""

    engine: str
    var: Path
    lease: float = 30.0
    lease_renewal: float = 10.0
    claim_batch: int = 500
    step_threads: int = 32
    speech_interval: float = 0.1


def orchestration_settings() -> OrchestrationSettings:
    return OrchestrationSettings(engine=settings.SAYSO_ENGINE, var=settings.VAR)
