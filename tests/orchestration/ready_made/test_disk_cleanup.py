"""A person picks files, approves exactly these, and exactly these are removed: a whole run, on real files."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from approvals import deciding
from orchestration.exceptions import InvalidInput
from orchestration.manager import OrchestrationManager
from orchestration.ready_made import disk, disk_cleanup
from orchestration.runtime import Runtime, start_runtime, stop_runtime
from tests import factories
from tests.marks import both_databases, every_engine
from tests.orchestration import watching
from tests.orchestration.people import begin
from tests.stacks import Stack

pytestmark = pytest.mark.one_stack

PICK = "Which files shall be removed?"


def write(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


@every_engine
async def test_what_is_picked_and_approved_is_removed(runtime: Runtime, owner: User, tmp_path: Path) -> None:
    """The main job, from the search to the report."""
    large, small, middle = (
        write(tmp_path / name, size) for name, size in [("a/large", 3000), ("small", 10), ("middle", 2000)]
    )
    run = await begin(runtime, "disk_cleanup", owner, directory=str(tmp_path), minimum=100)

    question = await run.answer(["a/large — 3.0 kB"], PICK)
    approval = await run.approve("Remove 1 file, 3.0 kB")
    finished = await run.finished()

    assert question["choices"] == ["a/large — 3.0 kB", "middle — 2.0 kB"]
    assert approval["arguments"]["directory"]["path"] == str(tmp_path)
    assert [file["path"] for file in approval["arguments"]["files"]] == ["a/large"]
    assert finished["status"] == "completed"
    assert finished["result"] == "Removed 1 of 1 file, freed 3.0 kB.\nRemoved: a/large"
    assert (large.exists(), small.exists(), middle.exists()) == (False, True, True)


async def test_nothing_picked_removes_nothing(runtime: Runtime, owner: User, tmp_path: Path) -> None:
    """And nobody is asked to approve nothing."""
    path = write(tmp_path / "file", 10)
    run = await begin(runtime, "disk_cleanup", owner, directory=str(tmp_path))
    await run.answer([], PICK)

    assert (await run.finished())["result"] == "Nothing was removed: no file was picked."
    assert path.exists()


async def test_a_directory_without_files_asks_nobody(runtime: Runtime, owner: User, tmp_path: Path) -> None:
    run = await begin(runtime, "disk_cleanup", owner, directory=str(tmp_path))
    assert (await run.finished())["result"] == "Nothing was removed: there was no file to pick from."


async def test_a_rejection_removes_nothing(runtime: Runtime, owner: User, tmp_path: Path) -> None:
    path = write(tmp_path / "file", 10)
    run = await begin(runtime, "disk_cleanup", owner, directory=str(tmp_path))
    await run.answer(["file — 10 bytes"])
    await run.reject("I still need it")

    assert (await run.finished())["status"] == "rejected"
    assert path.exists()


async def test_a_file_that_changed_meanwhile_is_left_and_named(
    runtime: Runtime, owner: User, tmp_path: Path
) -> None:
    """Approved was another content than the one that is there now."""
    changed, gone, same = (write(tmp_path / name, 10) for name in ("changed", "gone", "same"))
    run = await begin(runtime, "disk_cleanup", owner, directory=str(tmp_path))
    await run.answer([f"{path.name} — 10 bytes" for path in (changed, gone, same)])
    await run.asked("Remove 3 files, 30 bytes")
    changed.write_bytes(b"written since")
    gone.unlink()
    await run.approve()

    lines = (await run.finished())["result"].splitlines()
    assert lines[0] == "Removed 1 of 3 files, freed 10 bytes."
    assert set(lines[1:]) == {
        "Removed: same",
        "Left: changed: it has changed since it was shown.",
        "Left: gone: it is no longer there.",
    }
    assert (changed.exists(), same.exists()) == (True, False)


async def test_a_folder_swapped_for_a_link_leads_nowhere(
    runtime: Runtime, owner: User, tmp_path: Path
) -> None:
    """Between question and removal somebody puts a link where the folder was."""
    inside = write(tmp_path / "inside" / "folder" / "file", 10).parent.parent
    run = await begin(runtime, "disk_cleanup", owner, directory=str(inside))
    await run.answer(["folder/file — 10 bytes"])
    await run.asked("Remove 1 file, 10 bytes")
    (inside / "folder").rename(tmp_path / "outside")
    (inside / "folder").symlink_to(tmp_path / "outside")
    await run.approve()

    assert "Left: folder/file" in (await run.finished())["result"]
    assert (tmp_path / "outside" / "file").exists()


async def test_links_are_not_offered(runtime: Runtime, owner: User, tmp_path: Path) -> None:
    outside = write(tmp_path / "outside" / "file", 10)
    inside = write(tmp_path / "inside" / "mine", 5).parent
    (inside / "link").symlink_to(outside)
    (inside / "folder").symlink_to(outside.parent)
    run = await begin(runtime, "disk_cleanup", owner, directory=str(inside))

    assert (await run.answer([]))["choices"] == ["mine — 5 bytes"]
    await run.finished()


@pytest.mark.parametrize("name", [b"line\nbreak", b"caf\xe9", "invoice\u202egpj.exe".encode(), b" space "])
async def test_a_name_that_is_hard_to_read_is_removed_exactly(
    runtime: Runtime, owner: User, tmp_path: Path, name: bytes
) -> None:
    path = write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)), 10)
    run = await begin(runtime, "disk_cleanup", owner, directory=str(tmp_path))
    (option,) = (await run.asked())["choices"]
    await run.answer([option])
    await run.approve()

    assert (await run.finished())["status"] == "completed"
    assert option.isprintable()
    assert not path.exists()


async def test_paths_too_long_for_an_option_are_still_told_apart(
    runtime: Runtime, owner: User, tmp_path: Path
) -> None:
    """Shortened they look the same, and yet the one that was picked is removed."""
    first, second = (write(tmp_path / ("a" * 100) / middle / ("b" * 100), 10) for middle in ("this", "that"))
    run = await begin(runtime, "disk_cleanup", owner, directory=str(tmp_path))
    options = (await run.asked())["choices"]
    await run.answer(options[:1])
    (removed,) = (await run.approve())["arguments"]["files"]
    await run.finished()

    assert len(set(options)) == 2
    assert not (tmp_path / removed["path"]).exists()
    assert first.exists() or second.exists()


@pytest.mark.parametrize("directory", ["relative", "~", "~/Downloads", "/no/such/directory", ""])
async def test_a_wrong_directory_is_refused_before_anything_starts(
    runtime: Runtime, owner: User, directory: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await begin(runtime, "disk_cleanup", owner, directory=directory)
    assert refused.value.field == "directory"
    assert refused.value.detail.startswith("directory: ")


@pytest.mark.parametrize(
    ("given", "field"),
    [({"limit": 0}, "limit"), ({"limit": 201}, "limit"), ({"minimum": -1}, "minimum"), ({"top": 1}, "top")],
)
async def test_wrong_numbers_are_refused_before_anything_starts(
    runtime: Runtime, owner: User, tmp_path: Path, given: dict[str, int], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await begin(runtime, "disk_cleanup", owner, directory=str(tmp_path), **given)
    assert refused.value.field == field


async def test_a_link_to_a_directory_is_refused(runtime: Runtime, owner: User, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(InvalidInput, match="is a link"):
        await begin(runtime, "disk_cleanup", owner, directory=str(tmp_path / "link"))


async def test_a_directory_lost_before_the_search_fails_the_run(
    stack: Stack, owner: User, tmp_path: Path
) -> None:
    """Queued for a server that comes later: it finds no directory, and says so."""
    lost = tmp_path / "lost"
    lost.mkdir()
    run_id = await OrchestrationManager().astart("disk_cleanup", {"directory": str(lost)}, owner=owner)
    lost.rmdir()
    await start_runtime()
    finished = await watching.finished(run_id)
    await stop_runtime()

    assert finished["status"] == "failed"
    assert "directory: " in finished["error"]
    assert "No such file" in finished["error"]


@both_databases
async def test_a_new_owner_of_the_run_asks_nothing_again(stack: Stack, owner: User, tmp_path: Path) -> None:
    """Decided while no process executed the run: what was approved is done by the next one."""
    path = write(tmp_path / "file", 10)
    run = await begin(await start_runtime(), "disk_cleanup", owner, directory=str(tmp_path))
    await run.answer(["file — 10 bytes"])
    request = await run.asked("Remove 1 file, 10 bytes")
    await stop_runtime()
    await deciding.adecide(factories.actor(owner), request["id"], "approve")
    assert path.exists()
    await start_runtime()
    finished = await run.finished()
    await stop_runtime()

    assert finished["result"] == "Removed 1 of 1 file, freed 10 bytes.\nRemoved: file"


async def test_freed_space_is_claimed_once(
    stack: Stack, owner: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """The process ends after the second removal, before it is on record: nobody is asked, because to try it
    once more is harmless, and only what is known is claimed."""
    settings.SAYSO_DRAIN = 0.0
    for name in ("first", "second"):
        write(tmp_path / name, 10)
    removing, release, removed = threading.Event(), threading.Event(), threading.Event()
    calls: list[str] = []

    def remove_and_die(directory: disk.Directory, file: disk.File) -> disk.Removal:
        calls.append(file.path)
        if len(calls) == 2:
            removing.set()
            release.wait()
        removal = disk.remove(directory, file)
        removed.set() if len(calls) == 2 else None
        return removal

    monkeypatch.setattr(disk_cleanup, "remove", remove_and_die)
    run = await begin(await start_runtime(), "disk_cleanup", owner, directory=str(tmp_path))
    await run.answer((await run.asked())["choices"])
    await run.approve()
    await asyncio.to_thread(removing.wait)
    await stop_runtime()
    release.set()
    await asyncio.to_thread(removed.wait)
    await start_runtime()
    finished = await run.finished()
    await stop_runtime()

    assert len(calls) == 3
    assert calls[1] == calls[2]
    assert finished["result"].splitlines() == [
        "Removed 1 of 2 files, freed 10 bytes.",
        f"Removed: {calls[0]}",
        f"Left: {calls[1]}: it is no longer there.",
    ]
