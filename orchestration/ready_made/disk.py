"""Find and remove files below one directory of this machine; links are never followed.

Each path is opened folder by folder, relative to the directory's handle and refusing links: nobody can
redirect it by putting a link in a folder's place. The installation's own files are never listed or removed.
File names are bytes, not always text: `escape_path` writes any name as readable text, `unescape_path` reads
it back, so that what people see and what is recorded stands for exactly one file.
"""

from __future__ import annotations

import errno
import heapq
import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from approvals.conf import approval_settings
from orchestration.exceptions import InvalidInput

# Opens only a directory, and no link to one.
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
# The same for a folder that is only passed through, and may not be readable.
PASSAGE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW
# Nanoseconds in which a file may be changed twice with the same time: the kernel's clock ticks, and some file
# systems store whole seconds only.
TICK, COARSE_TICK = 50_000_000, 2_000_000_000
SECOND = 1_000_000_000
CHANGED = "it has changed since it was shown"
NOT_TOLD_APART = "whether it has changed since it was shown can't be told"
# Below SAYSO_VAR: files that `demo` makes, to be removed.
DEMO_FILES = Path("demo", "files")
# Larger whole numbers are not exact in JSON. No disk has so much room: such a file is mostly empty.
LARGEST_SIZE = 2**53 - 1
# Characters that may need escaping: spaces at either end of a name or in a row, and all that are no spaces.
HARD_TO_SEE = re.compile(r"(?<![^ /]) | (?![^ /])|[^ ]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A directory as it was found; `identity` differs if another one takes its place."""

    path: str
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file as it was found; any difference later means that it has changed. `size` in bytes.

    A writer can restore the size and the time of the last modification, but not the time of the last change,
    `changed`. It is empty where it might not show a later change.
    """

    path: str
    size: int
    modified: str
    identity: str
    changed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The largest files, largest first, and how many folders could not be looked into."""

    files: list[File]
    unreadable: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """The result for one file: `freed` bytes, or the reason why it was `left`."""

    path: str
    removed: bool
    freed: int = 0
    left: str = ""


class OwnFolder(OSError):
    """The folder belongs to the installation, and must not be touched."""

    def __init__(self) -> None:
        super().__init__(errno.EPERM, "Sayso keeps it for itself (SAYSO_VAR)")


def directory_at(path: str) -> Directory:
    """Find the directory at an absolute path; raise InvalidInput for anything else."""
    require_absolute(path)
    try:
        if Path(path).is_symlink():
            raise _invalid_directory(f"{path!r} is a link; name the directory itself")
        real = os.fsencode(Path(path).resolve(strict=True))
        with _open_path(real) as handle:
            return Directory(path=escape_path(real), identity=_identity(os.fstat(handle)))
    except NotADirectoryError:
        raise _invalid_directory(f"{path!r} is not a directory") from None
    except OSError as error:
        raise _invalid_directory(f"{path!r} can't be read: {error.strerror}") from error
    except (ValueError, RuntimeError) as error:  # not a path; circular links
        raise _invalid_directory(f"{path!r} can't be read: {error}") from error


def require_absolute(path: str) -> None:
    """Raise InvalidInput unless the path is absolute."""
    if not path.startswith("/"):
        raise _invalid_directory(
            f"{path!r} is not an absolute path; relative paths and ~ have no meaning here"
        )


def largest_files(
    directory: Directory, *, limit: int, minimum: int = 1, stopped: Callable[[], bool] = lambda: False
) -> Found:
    """Find the `limit` largest regular files of at least `minimum` bytes, on the directory's file system.

    Memory grows with `limit` and the folders still to be read, not with the files. Waits up to two seconds
    where a file has changed just now.
    """
    search = _Search(minimum=minimum, stopped=stopped)
    with _open(directory) as root:
        files = heapq.nlargest(limit, search.files(root), key=lambda seen: seen[0].size)
    _wait_until_changes_show([changed_at for _, changed_at in files])
    now = time.time_ns()
    return Found(
        files=[file if at + _tick(at) <= now else replace(file, changed="") for file, at in files],
        unreadable=search.unreadable,
    )


def remove(directory: Directory, file: File) -> Removal:
    """Remove the file if it is unchanged; never remove anything outside the directory."""
    *folders, name = unescape_path(file.path).split(b"/")
    if {b"", b".", b".."} & {*folders, name}:
        return Removal(path=file.path, removed=False, left="it is not the name of a file in the directory")
    try:
        with _open(directory) as root, _open_below(root, folders) as folder:
            now = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if left := _difference(file, now):
                return Removal(path=file.path, removed=False, left=left)
            os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return Removal(path=file.path, removed=False, left="it is no longer there")
    except NotADirectoryError:
        return Removal(path=file.path, removed=False, left="a folder on the way to it has been replaced")
    except OSError as error:
        return Removal(path=file.path, removed=False, left=error.strerror or str(error))
    # A file with other names keeps its space until the last one goes.
    return Removal(path=file.path, removed=True, freed=file.size if now.st_nlink == 1 else 0)


def escape_path(path: bytes) -> str:
    r"""Write a path as text in which every byte is visible: others, and the backslash, become \xNN.

    >>> escape_path(b"draft\n\xff.txt")
    'draft\\x0a\\xff.txt'
    """
    return HARD_TO_SEE.sub(_escape, path.decode("utf-8", "surrogateescape"))


def unescape_path(path: str) -> bytes:
    """Return the bytes that `escape_path` wrote as this text."""
    return re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), path.encode())


def format_size(size: int) -> str:
    """Format a number of bytes: 999 bytes, 1.2 GB."""
    if size < 1000:
        return f"{size} byte{'' if size == 1 else 's'}"
    amount = float(size)
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:,.1f} PB"


@dataclass(slots=True)
class _Search:
    """A search through a directory, folder by folder; counts folders that can't be read."""

    minimum: int
    stopped: Callable[[], bool]
    unreadable: int = 0

    def files(self, root: int) -> Iterator[tuple[File, int]]:
        """Yield each file with the time of its last change, in nanoseconds."""
        device = os.fstat(root).st_dev
        pending = [b""]
        while pending and not self.stopped():
            path = pending.pop()
            try:
                with _open_below(root, path.split(b"/") if path else []) as folder:
                    if os.fstat(folder).st_dev == device:
                        yield from self._files_in(folder, path, pending)
            except OwnFolder:
                continue
            except OSError:
                self.unreadable += 1

    def _files_in(self, folder: int, path: bytes, pending: list[bytes]) -> Iterator[tuple[File, int]]:
        with os.scandir(folder) as entries:
            for entry in entries:
                below = os.path.join(path, os.fsencode(entry.name))  # noqa: PTH118 (bytes)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(below)
                elif entry.is_file(follow_symlinks=False) and (file := self._file_of_entry(entry, below)):
                    yield file

    def _file_of_entry(self, entry: os.DirEntry[str], path: bytes) -> tuple[File, int] | None:
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not self.minimum <= found.st_size <= LARGEST_SIZE:
            return None
        return _file_of_stat(escape_path(path), found), found.st_ctime_ns


def _invalid_directory(rule: str) -> InvalidInput:
    return InvalidInput(f"directory: {rule}.", field="directory")


@contextmanager
def _open(directory: Directory) -> Iterator[int]:
    with _open_path(unescape_path(directory.path)) as handle:
        if _identity(os.fstat(handle)) != directory.identity:
            raise OSError(errno.ESTALE, "another directory has taken the place of the one that was shown")
        yield handle


@contextmanager
def _open_path(real: bytes) -> Iterator[int]:
    """Open the directory at this path without following links; OwnFolder where it is the installation's."""
    *passed, last = [b"/", *filter(None, real.split(b"/"))]
    handle = os.open(b"/", PASSAGE)
    try:
        identities = [_identity(os.fstat(handle))]
        for folder in passed[1:]:
            handle = _enter(handle, folder, PASSAGE)
            identities.append(_identity(os.fstat(handle)))
        handle = _enter(handle, last, DIRECTORY)
        _require_foreign([*identities, _identity(os.fstat(handle))])
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _open_below(root: int, folders: Iterable[bytes]) -> Iterator[int]:
    own = _own_folder()
    handle = os.open(b".", DIRECTORY, dir_fd=root)
    try:
        for folder in folders:
            handle = _enter(handle, folder, DIRECTORY)
            if _identity(os.fstat(handle)) == own:
                raise OwnFolder
        yield handle
    finally:
        os.close(handle)


def _enter(above: int, folder: bytes, flags: int) -> int:
    """Open a folder and close the one above it, which stays open if this fails."""
    handle = os.open(folder, flags, dir_fd=above)
    os.close(above)
    return handle


def _require_foreign(identities: list[str]) -> None:
    """Raise OwnFolder if a folder on the path is SAYSO_VAR, unless another one is demo/files."""
    if _own_folder() in identities and _demo_files() not in identities:
        raise OwnFolder


def _own_folder() -> str | None:
    try:
        return _identity(approval_settings().var.stat())
    except FileNotFoundError:
        return None


def _demo_files() -> str | None:
    try:
        return _identity((approval_settings().var / DEMO_FILES).lstat())
    except OSError:
        return None


def _file_of_stat(path: str, found: os.stat_result) -> File:
    return File(
        path=path,
        size=found.st_size,
        modified=_moment(found.st_mtime_ns),
        identity=_identity(found),
        changed=_moment(found.st_ctime_ns),
    )


def _difference(file: File, now: os.stat_result) -> str:
    """Return why this is not the file that was shown; an empty text if it is."""
    seen = _file_of_stat(file.path, now)
    if not stat.S_ISREG(now.st_mode) or replace(seen, changed=file.changed) != file:
        return CHANGED
    if not file.changed:
        return NOT_TOLD_APART
    return "" if seen == file else CHANGED


def _wait_until_changes_show(changed_at: Collection[int]) -> None:
    """Wait until a further change of any of these files would have another time; not for future times."""
    now = time.time_ns()
    due = max((at + _tick(at) for at in changed_at if at <= now), default=now)
    time.sleep(max(due - now, 0) / SECOND)


def _tick(changed_at: int) -> int:
    return COARSE_TICK if changed_at % SECOND == 0 else TICK


def _moment(nanoseconds: int) -> str:
    """Format a time to the nanosecond, as text: as a number it would not be exact in JSON."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"
    except (ValueError, OverflowError, OSError):  # a file's time may be outside of the calendar
        return f"@{seconds}.{fraction:09d}"


def _identity(found: os.stat_result) -> str:
    return f"{found.st_dev}:{found.st_ino}"


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character.isprintable() and character not in " \\":
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
