"""Write files atomically, and create files and folders that only their owner may read."""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EEXIST
from pathlib import Path
from secrets import token_hex
from typing import NoReturn, TextIO

# Signals that end a process by default: a stop by the system, and a terminal that is closed.
STOPS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def write_whole(path: Path, *, mode: int = 0o600) -> Iterator[TextIO]:
    """Open a text file (UTF-8, line ends as written) that replaces `path` when all of it is on the disk.

    On an error inside, or when the process is told to stop, the old file stays and nothing else is left.
    OSError where `path` is something else than a file, such as a device.
    """
    if path.exists() and not path.is_file():
        raise FileExistsError(EEXIST, "Something else than a file is there")
    beside = path.with_name(f".{path.name}.{token_hex(4)}")
    with _raise_when_stopped():
        try:
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                yield file
                file.flush()
                os.fsync(handle)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def open_private(path: Path) -> int:
    """Open the file for reading and writing; a new one is readable by this account only."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def make_private_folder(path: Path) -> None:
    """Create the folder and its missing parents, accessible by this account only."""
    for folder in [*reversed(path.parents), path]:
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)


def find_exposed(folder: Path) -> Iterator[Path]:
    """Yield the paths, from this folder down, to which other accounts have access. Follows no link."""
    pending = [folder]
    while pending:
        path = pending.pop()
        try:
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                pending += path.iterdir()
        except OSError:  # gone meanwhile, or not ours
            continue
        if not stat.S_ISLNK(mode) and mode & 0o077:
            yield path


@contextmanager
def _raise_when_stopped() -> Iterator[None]:
    """Raise SystemExit for signals that would end the process at once, so that `finally` blocks run.

    Signals that are handled or ignored (nohup) stay so. Only the main thread receives signals.
    """
    mine = threading.current_thread() is threading.main_thread()
    stops = [each for each in STOPS if mine and signal.getsignal(each) is signal.SIG_DFL]
    try:
        for each in stops:
            signal.signal(each, _stop)
        yield
    finally:
        for each in stops:
            signal.signal(each, signal.SIG_DFL)


def _stop(number: int, _: object) -> NoReturn:
    raise SystemExit(128 + number)
