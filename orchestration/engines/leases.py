"""Leases of processes: who is alive to execute runs, on the database's clock.

One row a process, whatever it executes. Beside it a locked file under `var/processes/` is a sign of life: the
kernel releases the lock with the process, however it died, so another process of the same machine need not
wait until the lease expires. Where there is no such file (another machine), the lease alone decides.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from django.db.models.functions import Now

from approvals.database.fields import new_id
from approvals.process import forks
from approvals.process.files import make_private_folder
from orchestration.conf import orchestration_settings
from orchestration.models import Process

try:
    import fcntl
except ImportError:  # no such locks on Windows: there, leases expire by time only
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Lease:
    """This process's right to execute runs. `sign` is the open, locked file."""

    process_id: UUID
    sign: int | None = field(default=None, repr=False)


def take(*, serves: bool = True) -> Lease:
    """Begin to be alive; renew it in time. `serves`: the process takes up what nobody executes."""
    process_id = new_id()
    # The sign first: a process without one might be taken for dead by its own machine.
    lease = Lease(process_id, _create_lock_file(process_id))
    try:
        Process.objects.create(
            id=process_id,
            name=f"{socket.gethostname()}:{os.getpid()}"[:200],
            started_at=Now(),
            expires_at=Now() + _duration(),
            serves=serves,
        )
    except BaseException:
        _remove_lock_file(lease)
        raise
    return lease


def renew(lease: Lease) -> bool:
    """False: it had expired or was ended, so this process's runs may belong to others by now."""
    living = Process.objects.filter(pk=lease.process_id, released_at__isnull=True, expires_at__gt=Now())
    return bool(living.update(expires_at=Now() + _duration()))


def release(lease: Lease) -> None:
    """Give it back at once, so that others can go on with what this process leaves."""
    _remove_lock_file(lease)
    _end(lease.process_id)


def end_dead_leases() -> None:
    """End the leases of this machine's processes that died without a word."""
    for process_id, sign in _dead():
        _end(process_id)
        sign.unlink(missing_ok=True)


def _end(process_id: UUID) -> None:
    Process.objects.filter(pk=process_id, released_at__isnull=True).update(released_at=Now())


def _duration() -> timedelta:
    return timedelta(seconds=orchestration_settings().lease)


def _lock_folder() -> Path:
    return orchestration_settings().var / "processes"


def _lock_file_of(process_id: UUID) -> Path:
    return _lock_folder() / str(process_id)


def _create_lock_file(process_id: UUID) -> int | None:
    if fcntl is None:
        return None
    make_private_folder(_lock_folder())
    # Locked under another name first: nobody may find it unlocked.
    path = _lock_folder() / f"{process_id}.new"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    _open_locks.add(handle)
    path.rename(_lock_file_of(process_id))
    return handle


def _remove_lock_file(lease: Lease) -> None:
    if lease.sign is not None:
        _lock_file_of(lease.process_id).unlink(missing_ok=True)
        _open_locks.discard(lease.sign)
        os.close(lease.sign)


def _forget() -> None:
    """A child that held it open would be a sign of life of its parent."""
    while _open_locks:
        os.close(_open_locks.pop())


_open_locks: set[int] = set()
forks.register(_forget)


def _dead() -> Iterator[tuple[UUID, Path]]:
    for path in _lock_folder().glob("*") if fcntl is not None else ():
        try:
            process_id = UUID(path.name)
        except ValueError:
            continue
        with _lock_if_free(path) as free:
            if free:
                yield process_id, path


@contextmanager
def _lock_if_free(path: Path) -> Iterator[bool]:
    """Whether nobody holds the file; nobody can, meanwhile."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)
