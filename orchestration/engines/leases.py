"""Leases of processes: which processes are alive to execute runs, by the database's clock.

One row for each process. Beside it the process holds a locked file under `var/processes/`: the kernel
releases the lock when the process dies, however it dies, so another process of the same machine need not wait
until the lease expires. Without such a file (on another machine) the lease alone decides. Runs of processes
that are not alive any more are taken up by local.py.
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

from approvals.conf import approval_settings
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
    """This process's right to execute runs. `lock` is the handle of its locked file."""

    process_id: UUID
    lock: int | None = field(default=None, repr=False)


def take(*, serves: bool = True) -> Lease:
    """Take a lease, to be renewed in time. `serves`: the process takes up runs that nobody executes."""
    process_id = new_id()
    # The file first: without it, another process of this machine might end the lease.
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
    """Renew the lease; False if it had expired or was ended, so that others may have its runs."""
    living = Process.objects.filter(pk=lease.process_id, released_at__isnull=True, expires_at__gt=Now())
    return bool(living.update(expires_at=Now() + _duration()))


def release(lease: Lease) -> None:
    """End the lease now, so that others can take this process's runs."""
    _remove_lock_file(lease)
    _end(lease.process_id)


def end_dead_leases() -> None:
    """End the leases of this machine's processes that have died."""
    for process_id, file in _dead():
        _end(process_id)
        file.unlink(missing_ok=True)


def _end(process_id: UUID) -> None:
    Process.objects.filter(pk=process_id, released_at__isnull=True).update(released_at=Now())


def _duration() -> timedelta:
    return timedelta(seconds=orchestration_settings().lease)


def _lock_folder() -> Path:
    return approval_settings().var / "processes"


def _lock_file_of(process_id: UUID) -> Path:
    return _lock_folder() / str(process_id)


def _create_lock_file(process_id: UUID) -> int | None:
    if fcntl is None:
        return None
    make_private_folder(_lock_folder())
    # Locked under another name first, so that nobody finds it unlocked.
    path = _lock_folder() / f"{process_id}.new"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    _open_locks.add(handle)
    path.rename(_lock_file_of(process_id))
    return handle


def _remove_lock_file(lease: Lease) -> None:
    if lease.lock is not None:
        _lock_file_of(lease.process_id).unlink(missing_ok=True)
        _open_locks.discard(lease.lock)
        os.close(lease.lock)


def _forget() -> None:
    """Close the files in a forked child: its open handle would keep the parent's lock."""
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
    """Lock the file if nobody holds it, and yield whether that worked."""
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
