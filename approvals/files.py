"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EEXIST
from pathlib import Path
from secrets import token_hex
from typing import TextIO


@contextmanager
def whole(path: Path, *, mode: int = 0o600) -> Iterator[TextIO]:
    """A new text file (UTF-8, line ends as written) that takes this path once all of it is on the disk.

    Whatever goes wrong inside, what was there before is still there, and nothing else is left. OSError where
    something else than a file is there: a device would be replaced by a file.
    """
    if path.exists() and not path.is_file():
        raise FileExistsError(EEXIST, "Something else than a file is there")
    beside = path.with_name(f".{path.name}.{token_hex(4)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(handle)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
