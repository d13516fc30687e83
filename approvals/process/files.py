"""Files that are there as a whole or not at all, and files that are nobody else's business."""

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

# What ends a process by default: a stop of the machine or its keeper, and a terminal that is closed.
STOPS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def write_whole(path: Path, *, mode: int = 0o600) -> Iterator[TextIO]:
    """A new text file (UTF-8, line ends as written) that takes this path once all of it is on the disk.

    Whatever goes wrong inside, or if the process is told to stop, what was there before is still there, and
    nothing else is left. OSError where something else than a file is there: a device would be replaced by a
    file.
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
    """The file, open for reading and writing; made, if need be, so that no other account may read it."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def make_private_folder(path: Path) -> None:
    """Make the folder, and those above it that are missing, for this account alone."""
    for folder in [*reversed(path.parents), path]:
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)


def find_exposed(folder: Path) -> Iterator[Path]:
    """The folder and what is below it, each where other accounts have any right to it. Follows no link."""
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
    """Being told to stop is an error like any other, where it would end the process without a word.

    Who handles or ignores a signal (nohup) goes on to; other threads than the main one are not told.
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
