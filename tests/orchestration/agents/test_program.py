"""A program runs without a shell, within its limits, and leaves nothing behind."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from orchestration.agents.program import Finished, run_program

FOREVER = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"


async def ignore(text: str) -> None:
    """Listen to nothing: all of the output comes back at the end."""


async def python(
    code: str, *arguments: str, directory: str = "/", seconds: float = 60, limit: int = 1000
) -> Finished:
    return await run_program(
        sys.executable,
        ["-c", code, *arguments],
        directory=directory,
        seconds=seconds,
        output_limit=limit,
        hear=ignore,
    )


async def test_output_and_errors_come_back_with_the_status() -> None:
    finished = await python(
        "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(3)"
    )
    assert finished == Finished(status=3, output="out\nerr\n")


async def test_no_shell_reads_the_arguments() -> None:
    finished = await python("import sys; print(sys.argv[1:])", "$(id)", "a; b", "*", "")
    assert finished.output == "['$(id)', 'a; b', '*', '']\n"


async def test_it_runs_in_its_directory_without_our_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://someone:secret@db/sayso")
    finished = await python("import os; print(os.getcwd(), sorted(os.environ))", directory=str(tmp_path))
    assert finished.output.startswith(f"{tmp_path} ")
    assert "DATABASE_URL" not in finished.output
    assert "PATH" in finished.output


async def test_it_gets_no_input() -> None:
    assert (await python("import sys; print(repr(sys.stdin.read()))")).output == "''\n"


async def test_the_middle_of_long_output_is_left_out() -> None:
    finished = await python("print('a' * 100 + 'b' * 1_000_000 + 'c' * 100, end='')", limit=200)
    assert finished.output == "a" * 100 + "\n[… 1,000,000 bytes left out …]\n" + "c" * 100


async def test_output_that_is_no_text_is_made_text() -> None:
    finished = await python(r"import sys; sys.stdout.buffer.write(b'\xff\0ok')")
    assert finished.output == "\ufffd\ufffdok"


@pytest.mark.parametrize("limit", [2, 11, 5000, 100_000])
async def test_what_is_heard_as_it_comes_is_what_is_kept(limit: int) -> None:
    """Whoever listened from the start has read the same text, also where a character is cut in two."""
    heard: list[str] = []

    async def hear(text: str) -> None:
        heard.append(text)

    code = "for _ in range(3): print('\u00fc' * 1000, flush=True)"
    finished = await run_program(
        sys.executable, ["-c", code], directory="/", seconds=60, output_limit=limit, hear=hear
    )
    assert "".join(heard) == finished.output


async def test_a_character_in_the_middle_stays_whole() -> None:
    finished = await python("print('\u00fc' * 5, end='')", limit=10)
    assert finished.output == "üüüüü"


async def test_when_its_time_is_up_it_is_killed() -> None:
    """Even where it refuses to stop."""
    finished = await python(f"print('on', flush=True); {FOREVER}", seconds=0.5)
    assert finished.status is None


@pytest.mark.parametrize("end", ["time", "exit", "cancel"])
async def test_what_it_started_ends_with_it(tmp_path: Path, end: str) -> None:
    """The whole process group goes: a pipe that the grandchild holds open reports its end."""
    fifo = tmp_path / "held"
    os.mkfifo(fifo)
    child = f"held = open({str(fifo)!r}, 'w'); held.write('started'); held.flush(); {FOREVER}"
    parent = (
        f"import os, subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {child!r}]); "
        f"open(sys.argv[1]).close(); sys.exit(0) if sys.argv[2] == 'exit' else child.wait()"
    )
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    run = asyncio.create_task(python(parent, str(ready), end, seconds=3 if end == "time" else 60))

    with await asyncio.to_thread(fifo.open) as held:
        assert await asyncio.to_thread(held.read, 7) == "started"
        with await asyncio.to_thread(ready.open, "w"):
            pass
        if end == "cancel":
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
        else:
            assert (await run).status == (0 if end == "exit" else None)
        assert await asyncio.to_thread(held.read) == ""


async def test_one_that_escapes_the_group_does_not_hold_us_up() -> None:
    """It keeps the output open; its last words are not waited for."""
    escape = (
        "import subprocess, sys; "
        f"print(subprocess.Popen([sys.executable, '-c', {FOREVER!r}], start_new_session=True).pid)"
    )
    finished = await python(escape)
    os.kill(int(finished.output), 9)
    assert finished.status == 0


async def test_a_program_that_can_not_start_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await run_program(str(tmp_path / "none"), [], directory="/", seconds=1, output_limit=10, hear=ignore)
