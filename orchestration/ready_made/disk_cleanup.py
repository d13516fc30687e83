"""The orchestration `disk_cleanup`: a person chooses which of the largest files are removed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field

from orchestration.catalog import orchestration
from orchestration.policies import allowlists
from orchestration.ready_made.disk import (
    Directory,
    File,
    directory_at,
    format_size,
    largest_files,
    remove,
    require_absolute,
    unescape_path,
)
from orchestration.runs.run import Run

OPTION_LIMIT = 200


def check_directory(given: Mapping[str, Any]) -> None:
    """Check the directory before the run starts."""
    require_absolute(given["directory"])
    if allowlists.is_checked_at_start():
        _find_allowed_directory(given["directory"])


@orchestration("disk_cleanup", check=check_directory)
async def disk_cleanup(
    run: Run,
    *,
    directory: str,
    limit: Annotated[int, Field(ge=1, le=200)] = 20,
    minimum: Annotated[int, Field(ge=0)] = 1,
) -> str:
    """Find the largest files under a directory, ask which may go, and remove those after approval.

    The directory must be in one of `SAYSO_CLEANUP_DIRECTORIES`, unless the terminal where the run was started
    executes it. Links are not followed, other file systems are not entered, and a file is left if it has
    changed since it was shown, or may have. `limit` is how many files are shown, `minimum` the smallest size
    in bytes.

    Input: `{"directory": "/var/cache", "limit": 10, "minimum": 1000000}`
    """
    found = await run.step("look for large files", _look, directory, limit, minimum, idempotent=True)
    await run.say("disk", _overview(found))
    if not found["files"]:
        return "Nothing was removed: there was no file to pick from."

    options = {_option(number, File(**file)): file for number, file in enumerate(found["files"], 1)}
    picked = await run.ask(
        "Which files shall be removed?", choices=list(options), multiple=True, details=f"Under `{directory}`"
    )
    if not picked:
        return "Nothing was removed: no file was picked."

    files = [options[option] for option in picked]
    size = format_size(sum(file["size"] for file in files))
    await run.approve(
        f"Remove {_files(len(files))}, {size}",
        details="They are removed for good. A file that changes before is left.",
        arguments={"directory": found["directory"], "files": files},
    )
    # Repeating is harmless: a second attempt finds no file, or another one, which it leaves.
    removals = [
        await run.step("remove", _remove, found["directory"], file, idempotent=True) for file in files
    ]
    return _report(removals)


async def _look(directory: str, limit: int, minimum: int) -> dict[str, Any]:
    """Search in a thread, which stops when this is cancelled."""
    stopped = threading.Event()
    try:
        return await asyncio.to_thread(_find_files, directory, limit, minimum, stopped)
    finally:
        stopped.set()


def _find_files(directory: str, limit: int, minimum: int, stopped: threading.Event) -> dict[str, Any]:
    place = _find_allowed_directory(directory)
    found = largest_files(place, limit=limit, minimum=minimum, stopped=stopped.is_set)
    return {"directory": asdict(place), **asdict(found)}


def _remove(directory: dict[str, Any], file: dict[str, Any]) -> dict[str, Any]:
    place = Directory(**directory)
    allowlists.check_directory(unescape_path(place.path))
    return asdict(remove(place, File(**file)))


def _find_allowed_directory(path: str) -> Directory:
    """Return the directory if it is allowed here; one that is not is not even looked at."""
    allowlists.check_directory(path)
    place = directory_at(path)
    allowlists.check_directory(unescape_path(place.path))  # it may have become a link meanwhile
    return place


def _overview(found: dict[str, Any]) -> str:
    size = format_size(sum(file["size"] for file in found["files"]))
    text = f"Found {_files(len(found['files']))} under {found['directory']['path']}, {size}."
    return f"{text} Folders that could not be read: {found['unreadable']}." if found["unreadable"] else text


def _option(number: int, file: File) -> str:
    option = f"{file.path} — {format_size(file.size)}"
    if len(option) <= OPTION_LIMIT:
        return option
    # No other option ends like this, so even shortened paths can't be mistaken for each other.
    return f"{file.path[:80]}…{file.path[-80:]} — {format_size(file.size)} (no. {number})"


def _report(removals: list[dict[str, Any]]) -> str:
    removed = [removal for removal in removals if removal["removed"]]
    freed = format_size(sum(removal["freed"] for removal in removed))
    lines = [f"Removed {len(removed)} of {_files(len(removals))}, freed {freed}."]
    lines += [f"Removed: {removal['path']}" for removal in removed]
    lines += [f"Left: {removal['path']}: {removal['left']}." for removal in removals if removal["left"]]
    return "\n".join(lines)


def _files(number: int) -> str:
    return f"{number} file{'' if number == 1 else 's'}"
