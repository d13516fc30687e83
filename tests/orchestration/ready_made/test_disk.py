"""Files are found and removed beneath one directory, and nowhere else."""

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from orchestration.exceptions import InvalidInput
from orchestration.ready_made import disk
from orchestration.ready_made.disk import Directory, File, Found
from tests.effort import effort

names = st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name)


def directory(path: Path) -> Directory:
    return disk.directory_at(str(path))


def found(path: Path, *, limit: int = 20, minimum: int = 1) -> list[File]:
    return disk.largest_files(directory(path), limit=limit, minimum=minimum).files


def write(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user of the machine may reach."""
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory on tmpfs, which takes sizes and times that disks don't."""
    if not Path("/dev/shm").is_dir():
        pytest.skip("there is no /dev/shm")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        yield Path(path)


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may read everything: become somebody who may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


class TestNames:
    @effort()
    @given(names)
    def test_any_name_comes_back_exactly(self, name: bytes) -> None:
        """What a person sees stands for one file, byte for byte."""
        assert disk.unescape_path(disk.escape_path(name)) == name

    @effort()
    @given(names)
    def test_any_name_can_be_read(self, name: bytes) -> None:
        """No control character, no direction mark, no lone surrogate, no space that hides."""
        text = disk.escape_path(name)
        assert text.isprintable()
        assert text == text.strip()
        assert "  " not in text

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            (b"holiday photo.jpg", "holiday photo.jpg"),
            ("Überblick/日本.txt".encode(), "Überblick/日本.txt"),
            (b"a\nb", r"a\x0ab"),
            (b"caf\xe9", r"caf\xe9"),
            (b"a\\x0ab", r"a\x5cx0ab"),
            (b" padded /two  spaces ", r"\x20padded\x20/two\x20\x20spaces\x20"),
            ("invoice\u202egpj.exe".encode(), r"invoice\xe2\x80\xaegpj.exe"),
        ],
    )
    def test_only_what_is_hard_to_see_is_escaped(self, name: bytes, text: str) -> None:
        assert disk.escape_path(name) == text

    @pytest.mark.parametrize(
        ("size", "text"),
        [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (1_234_567_890, "1.2 GB"),
            (999_960, "1.0 MB"),
            (10**18, "1,000.0 PB"),
        ],
    )
    def test_sizes_are_readable(self, size: int, text: str) -> None:
        assert disk.format_size(size) == text


class TestDirectory:
    @pytest.mark.parametrize("path", ["relative/path", "~/downloads", "", "."])
    def test_a_path_that_is_not_absolute_is_refused(self, path: str) -> None:
        with pytest.raises(InvalidInput, match="absolute") as refused:
            disk.directory_at(path)
        assert refused.value.field == "directory"

    def test_a_missing_directory_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="No such file"):
            directory(tmp_path / "missing")

    def test_a_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="is not a directory"):
            directory(write(tmp_path / "file", 1))

    @pytest.mark.parametrize("ending", ["", "/", "/."])
    def test_a_link_is_refused(self, tmp_path: Path, ending: str) -> None:
        """Links are never followed: the directory itself has to be named."""
        (tmp_path / "link").symlink_to(tmp_path)
        with pytest.raises(InvalidInput, match="is a link"):
            disk.directory_at(f"{tmp_path}/link{ending}")

    def test_a_circle_of_links_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a").symlink_to("b")
        (tmp_path / "b").symlink_to("a")
        with pytest.raises(InvalidInput):
            directory(tmp_path / "a" / "below")

    def test_a_nul_is_refused(self) -> None:
        with pytest.raises(InvalidInput):
            disk.directory_at("/tmp/\0")

    def test_a_directory_that_may_not_be_read_is_refused(self, public: Path) -> None:
        (public / "closed").mkdir(mode=0)
        with without_privileges(), pytest.raises(InvalidInput, match="Permission denied"):
            directory(public / "closed")


class TestOwnFolder:
    """Nothing below SAYSO_VAR is listed or touched, whatever else is allowed; but for what `demo` makes."""

    @pytest.fixture
    def own(self, tmp_path: Path, settings: Settings) -> Path:
        own = tmp_path / "above" / "var"
        for name in ("secret_key", "processes/lock", "demo/notes", "demo/files/videos/raw.mp4"):
            write(own / name, 10)
        settings.SAYSO_VAR = own
        return own

    @pytest.mark.parametrize("below", [".", "processes", "demo", "demo/files/../../processes"])
    def test_it_is_refused(self, own: Path, below: str) -> None:
        with pytest.raises(InvalidInput, match="SAYSO_VAR"):
            disk.directory_at(f"{own}/{below}")

    def test_it_is_passed_over_from_above(self, own: Path) -> None:
        write(own.parent / "other", 1)
        assert disk.largest_files(directory(own.parent), limit=9) == Found(
            files=found(own.parent), unreadable=0
        )
        assert [file.path for file in found(own.parent)] == ["other"]

    @pytest.mark.parametrize("below", ["demo/files", "demo/files/videos"])
    def test_what_demo_makes_is_listed_and_removed(self, own: Path, below: str) -> None:
        (file,) = found(own / below)
        assert disk.remove(directory(own / below), file).removed

    def test_it_is_not_touched_where_it_was_listed_before(
        self, own: Path, settings: Settings, tmp_path: Path
    ) -> None:
        """By a process for which it was no folder of its own."""
        settings.SAYSO_VAR = tmp_path / "elsewhere"
        settings.SAYSO_VAR.mkdir()
        seen = [(place, found(own.parent / place)) for place in ("", "var", "var/processes")]
        places = [(directory(own.parent / place), files) for place, files in seen]
        settings.SAYSO_VAR = own
        removals = [disk.remove(place, file) for place, files in places for file in files]
        assert len(removals) == 4 + 4 + 1
        assert {removal.left for removal in removals} == {"Sayso keeps it for itself (SAYSO_VAR)"}

    @pytest.mark.parametrize("link", ["demo", "demo/files"])
    def test_no_link_in_place_of_the_demo_leads_elsewhere(self, own: Path, link: str) -> None:
        """Neither out of the folder, nor to another part of it."""
        (own / "demo").rename(own / "former")
        (own / link).parent.mkdir(exist_ok=True)
        (own / link).symlink_to(own if link == "demo" else own / "processes")
        with pytest.raises(InvalidInput):
            directory(own / "demo" / "files")
        with pytest.raises(InvalidInput, match="SAYSO_VAR"):
            directory(own / "processes")

    def test_another_name_for_it_is_the_same_folder(self, own: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(own.parent)
        with pytest.raises(InvalidInput, match="SAYSO_VAR"):
            directory(tmp_path / "link" / "var")


class TestLargestFiles:
    def test_the_largest_come_first_and_no_more_than_asked_for(self, tmp_path: Path) -> None:
        for size in (10, 50, 30, 40, 20):
            write(tmp_path / f"folder{size}" / "deeper" / str(size), size)

        assert [file.path for file in found(tmp_path, limit=3)] == [
            "folder50/deeper/50",
            "folder40/deeper/40",
            "folder30/deeper/30",
        ]

    def test_smaller_than_the_minimum_is_not_offered(self, tmp_path: Path) -> None:
        write(tmp_path / "empty", 0)
        write(tmp_path / "small", 99)
        write(tmp_path / "large", 100)

        assert [file.path for file in found(tmp_path, minimum=100)] == ["large"]

    def test_links_to_files_and_folders_are_not_followed(self, tmp_path: Path) -> None:
        outside = write(tmp_path / "outside" / "secret", 1000)
        inside = write(tmp_path / "inside" / "mine", 10).parent
        (inside / "file").symlink_to(outside)
        (inside / "folder").symlink_to(outside.parent)
        (inside / "circle").symlink_to(inside)
        (inside / "broken").symlink_to("nowhere")

        assert [file.path for file in found(inside)] == ["mine"]

    def test_only_regular_files_are_offered(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "socket"))
            assert found(tmp_path, minimum=0) == []

    def test_a_name_that_is_no_text_is_found(self, tmp_path: Path) -> None:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\n")).write_bytes(b"x")
        assert [file.path for file in found(tmp_path)] == [r"caf\xe9\x0a"]

    def test_a_file_with_more_holes_than_json_has_numbers_is_passed_over(self, memory: Path) -> None:
        """A size that JSON can't carry would make the whole run fail."""
        with (memory / "holes").open("wb") as file:
            file.truncate(2**53)
        assert found(memory) == []

    def test_years_beyond_the_calendar_are_still_told_apart(self, memory: Path) -> None:
        path = write(memory / "file", 1)
        os.utime(path, (0, 10**12))
        (first,) = found(memory)
        os.utime(path, (0, 10**12 + 1))
        assert found(memory)[0].modified != first.modified

    def test_folders_deeper_than_a_path_may_be_long_are_searched(self, tmp_path: Path) -> None:
        """Paths are limited to 4,096 bytes, trees are not."""
        handle = os.open(tmp_path, os.O_RDONLY)
        for _ in range(30):
            os.mkdir("d" * 200, dir_fd=handle)
            handle, above = os.open("d" * 200, os.O_RDONLY, dir_fd=handle), handle
            os.close(above)
        os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
        os.close(handle)

        (file,) = found(tmp_path, minimum=0)
        assert file.path.endswith("/bottom")
        assert disk.remove(directory(tmp_path), file).removed
        assert found(tmp_path, minimum=0) == []

    def test_a_folder_that_may_not_be_read_is_counted(self, public: Path) -> None:
        write(public / "open", 1)
        (public / "closed").mkdir(mode=0)
        with without_privileges():
            search = disk.largest_files(directory(public), limit=5)
        assert (len(search.files), search.unreadable) == (1, 1)

    def test_a_search_that_is_no_longer_wanted_stops(self, tmp_path: Path) -> None:
        write(tmp_path / "folder" / "file", 1)
        search = disk.largest_files(directory(tmp_path), limit=5, stopped=lambda: True)
        assert search == Found(files=[], unreadable=0)


class TestRemove:
    def test_what_was_seen_is_removed(self, tmp_path: Path) -> None:
        path = write(tmp_path / "folder" / "file", 7)
        (file,) = found(tmp_path)

        removal = disk.remove(directory(tmp_path), file)

        assert (removal.removed, removal.freed) == (True, 7)
        assert not path.exists()
        assert path.parent.exists()

    def test_a_name_that_is_no_text_is_removed_and_its_twin_stays(self, tmp_path: Path) -> None:
        """The file whose name is the escape itself is another file."""
        odd = os.fsencode(tmp_path) + b"/caf\xe9"
        twin = tmp_path / r"caf\xe9"
        Path(os.fsdecode(odd)).write_bytes(b"xx")
        write(twin, 1)

        assert disk.remove(directory(tmp_path), found(tmp_path)[0]).removed
        assert not os.path.lexists(odd)
        assert twin.exists()

    @effort(30)
    @given(st.binary(min_size=1, max_size=30), st.data())
    def test_another_content_behind_the_same_size_and_times_is_left(
        self, content: bytes, data: st.DataObject
    ) -> None:
        """Written in place at once after the look, in the same tick of the clock; then the time put back."""
        other = data.draw(st.binary(min_size=len(content), max_size=len(content)))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file"
            path.write_bytes(content)
            (file,) = found(Path(folder))
            before = path.stat()
            path.write_bytes(other)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            removal = disk.remove(directory(Path(folder)), file)
            assert path.read_bytes() == other
        assert removal.left == "it has changed since it was shown"

    def test_a_file_that_changed_in_the_future_can_not_be_told_apart_and_is_left(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As on a computer whose clock was put back: what is written now may bear the time that it bears."""
        path = write(tmp_path / "file", 5)
        hour = 3_600_000_000_000
        now = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: now() - hour)
        (file,) = found(tmp_path)
        removal = disk.remove(directory(tmp_path), file)
        assert (removal.removed, removal.left) == (False, disk.NOT_TOLD_APART)
        assert path.exists()

    def test_a_file_that_was_shown_before_change_times_were_noted_is_left(self, tmp_path: Path) -> None:
        """Runs that began before an update have no other record of it."""
        write(tmp_path / "file", 5)
        (file,) = found(tmp_path)
        old = {name: value for name, value in asdict(file).items() if name != "changed"}
        removal = disk.remove(directory(tmp_path), File(**old))
        assert (removal.removed, removal.left) == (False, disk.NOT_TOLD_APART)

    @pytest.mark.parametrize("change", ["size", "time", "replaced", "link", "folder"])
    def test_a_file_that_has_changed_is_left(self, tmp_path: Path, change: str) -> None:
        path = write(tmp_path / "file", 5)
        (file,) = found(tmp_path)
        before = path.stat()
        if change == "size":
            path.write_bytes(b"longer than before")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        elif change == "time":
            path.write_bytes(b"other")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        elif change == "replaced":
            write(tmp_path / "other", 5).replace(path)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        elif change == "link":
            path.rename(tmp_path / "other")
            path.symlink_to("other")
        else:
            path.unlink()
            path.mkdir()

        removal = disk.remove(directory(tmp_path), file)

        assert (removal.removed, removal.freed) == (False, 0)
        assert "changed" in removal.left
        assert os.path.lexists(path)

    def test_a_file_that_is_gone_is_not_claimed(self, tmp_path: Path) -> None:
        path = write(tmp_path / "file", 5)
        (file,) = found(tmp_path)
        path.unlink()

        removal = disk.remove(directory(tmp_path), file)

        assert (removal.removed, removal.freed, removal.left) == (False, 0, "it is no longer there")

    def test_a_folder_swapped_for_a_link_does_not_lead_outside(self, tmp_path: Path) -> None:
        """The very same file, reached through a link, stays."""
        inside = write(tmp_path / "inside" / "folder" / "file", 5).parent.parent
        (file,) = found(inside)
        (inside / "folder").rename(tmp_path / "outside")
        (inside / "folder").symlink_to(tmp_path / "outside")

        removal = disk.remove(directory(inside), file)

        assert not removal.removed
        assert "replaced" in removal.left
        assert (tmp_path / "outside" / "file").exists()

    @pytest.mark.parametrize("by", ["link", "directory"])
    def test_the_directory_itself_swapped_leads_nowhere(self, tmp_path: Path, by: str) -> None:
        inside = write(tmp_path / "inside" / "file", 5).parent
        seen, (file,) = directory(inside), found(inside)
        inside.rename(tmp_path / "moved")
        if by == "link":
            inside.symlink_to(tmp_path / "moved")
        else:
            inside.mkdir()
            os.link(tmp_path / "moved" / "file", inside / "file")

        assert not disk.remove(seen, file).removed
        assert (tmp_path / "moved" / "file").exists()

    @pytest.mark.parametrize("path", ["../outside", "folder/../../outside", "/etc/hostname", "", "."])
    def test_a_path_that_leads_out_is_refused(self, tmp_path: Path, path: str) -> None:
        outside = write(tmp_path / "outside", 5)
        inside = write(tmp_path / "inside" / "folder" / "file", 5).parent.parent
        (same,) = (file for file in found(tmp_path) if file.path == "outside")

        file = replace(same, path=path)

        assert not disk.remove(directory(inside), file).removed
        assert outside.exists()

    def test_space_is_freed_when_the_last_name_goes(self, tmp_path: Path) -> None:
        os.link(write(tmp_path / "one", 5), tmp_path / "two")
        one, two = found(tmp_path)

        assert disk.remove(directory(tmp_path), one).freed == 0
        # That was a change of the file, too.
        assert disk.remove(directory(tmp_path), two).left == "it has changed since it was shown"
        assert disk.remove(directory(tmp_path), found(tmp_path)[0]).freed == 5
