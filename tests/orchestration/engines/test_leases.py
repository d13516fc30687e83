"""Leases: who is alive, on the database's clock and by the kernel's word."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError

from approvals.conf import approval_settings
from orchestration.engines import leases
from orchestration.models import Process
from tests.conftest import Manage

pytestmark = pytest.mark.django_db

TAKE_AND_STAY = """
from orchestration.engines import leases
print("lease", leases.take().process_id, flush=True)
import signal
signal.pause()
"""


def test_a_lease_is_renewed_while_it_lives() -> None:
    """Each renewal puts its end further off."""
    lease = leases.take()
    before = Process.objects.get(pk=lease.process_id).expires_at
    assert leases.renew(lease)
    assert Process.objects.get(pk=lease.process_id).expires_at >= before
    leases.release(lease)


def test_an_expired_lease_is_lost() -> None:
    """Renewing it would take runs back from whoever has them now."""
    lease = leases.take()
    Process.objects.filter(pk=lease.process_id).update(expires_at=datetime(2000, 1, 1, tzinfo=UTC))
    assert not leases.renew(lease)
    leases.release(lease)


def test_a_released_lease_is_lost() -> None:
    """Whoever gave it back, or was found dead, begins with another."""
    lease = leases.take()
    leases.release(lease)
    assert not leases.renew(lease)
    assert Process.objects.get(pk=lease.process_id).released_at is not None


def test_the_living_are_not_buried() -> None:
    """This very process holds its sign of life."""
    lease = leases.take()
    leases.end_dead_leases()
    assert leases.renew(lease)
    leases.release(lease)


def test_a_killed_process_is_found_dead(manage: Manage) -> None:
    """`kill -9` leaves no word; the kernel lets go of its lock, and its lease is ended at once."""
    process = manage("shell", "-c", TAKE_AND_STAY)
    line = process.output.wait_for(lambda text: "lease " in text)
    process_id = UUID(line.split("lease ")[1].split()[0])
    leases.end_dead_leases()
    assert Process.objects.get(pk=process_id).released_at is None
    process.kill()
    leases.end_dead_leases()
    assert Process.objects.get(pk=process_id).released_at is not None


def test_a_lease_that_can_not_be_taken_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the database is away this is tried again and again."""

    def away(**values: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(Process.objects, "create", away)
    before = _open_files(), _signs()
    with pytest.raises(OperationalError):
        leases.take()
    assert (_open_files(), _signs()) == before


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _signs() -> set[Path]:
    return set((approval_settings().var / "processes").glob("*"))
