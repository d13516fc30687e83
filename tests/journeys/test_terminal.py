"""Sayso from a terminal, as somebody at a keyboard knows it: real processes on a real pty."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User

from approvals import queries
from approvals.management.people import computer_user
from orchestration.models import Process as Executor
from orchestration.models import Run
from tests import factories as make
from tests.conftest import Manage, Serve
from tests.processes import free_port
from tests.stacks import Stack
from tests.terminals import END_OF_INPUT, INTERRUPT, Terminal

pytestmark = [pytest.mark.django_db, pytest.mark.processes]

At = Callable[..., Terminal]

WHICH = "Which files shall be removed?"
PICK = "all, or none:"
DECIDE = "[l]ater:"


@pytest.fixture
def ana() -> User:
    return make.user("ana")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with three files, the largest first in the alphabet's order."""
    directory = tmp_path / "files"
    (directory / "sub").mkdir(parents=True)
    for name, size in (("a.iso", 30_000), ("b.log", 20_000), ("sub/c.txt", 10_000)):
        (directory / name).write_bytes(bytes(size))
    return directory


@pytest.fixture
def terminal(stack: Stack) -> Iterator[At]:
    """Start `manage.py …` in a terminal; killed at the end. `environment` is added to the stack's own."""
    with ExitStack() as running:

        def start(*arguments: str | Path, output: Path | None = None, **environment: str) -> Terminal:
            everything = stack.environment | environment
            return running.enter_context(Terminal(*arguments, environment=everything, output=output))

        yield start


def cleanup(files: Path, *more: str) -> list[str]:
    return [
        "orchestrate",
        "disk_cleanup",
        "--input",
        json.dumps({"directory": str(files)}),
        "--as",
        "ana",
        *more,
    ]


def left_in(files: Path) -> set[str]:
    return {str(file.relative_to(files)) for file in files.rglob("*") if file.is_file()}


def pending(kind: str) -> Any:
    """The one request of this kind that waits."""
    (request,) = queries.list_inbox(User.objects.get(username="ana").pk, kind=kind)
    return request


class TestOrchestrating:
    def test_a_run_is_decided_from_start_to_end_in_the_terminal(
        self, terminal: At, ana: User, files: Path
    ) -> None:
        """The main job: look, pick, approve exactly these, and they are gone."""
        screen = terminal(*cleanup(files))
        shown = screen.wait_for(PICK)
        assert WHICH in shown
        assert "1  a.iso" in shown
        screen.type("1,3\n")
        shown = screen.wait_for(DECIDE)
        assert '"a.iso"' in shown
        assert '"sub/c.txt"' in shown
        assert "b.log" not in shown
        screen.type("a\n")
        assert screen.wait() == 0
        assert "Removed 2 of 2 files, freed 40.0 kB." in screen.text
        assert left_in(files) == {"b.log"}

    @pytest.mark.one_stack
    def test_the_result_alone_goes_to_standard_output(
        self, terminal: At, ana: User, files: Path, tmp_path: Path
    ) -> None:
        """Redirected, the person still sees and decides everything, and the file has just the result."""
        screen = terminal(*cleanup(files), output=tmp_path / "result")
        screen.wait_for(PICK)
        screen.type("none\n")
        assert screen.wait() == 0
        (line,) = (tmp_path / "result").read_text().splitlines()
        assert "Nothing was removed" in line

    @pytest.mark.one_stack
    def test_rejecting_asks_why_and_ends_with_3(self, terminal: At, ana: User, files: Path) -> None:
        screen = terminal(*cleanup(files))
        screen.wait_for(PICK)
        screen.type("all\n")
        screen.wait_for(DECIDE)
        screen.type("r\n")
        screen.wait_for("Why?")
        screen.type("Too many.\n")
        assert screen.wait() == 3
        assert "Too many." in screen.text
        assert len(left_in(files)) == 3

    @pytest.mark.one_stack
    def test_a_form_is_asked_property_by_property(self, terminal: At, ana: User) -> None:
        """One of a list by its number, anything as JSON; what is none is asked again."""
        schema = {
            "type": "object",
            "properties": {
                "how": {"type": "string", "title": "How to go on", "enum": ["Again", "It was done"]},
                "result": {"title": "Its result"},
            },
            "required": ["how"],
        }
        step = {"agent": "person", "action": "Was it done?", "arguments": {"schema": schema}}
        given = json.dumps({"task": "Settle it", "steps": [step]})
        screen = terminal("orchestrate", "plan", "--input", given, "--as", "ana")
        screen.wait_for(DECIDE)
        screen.type("a\n")
        shown = screen.wait_for("Number:")
        assert "How to go on:" in shown
        assert "2  It was done" in shown
        screen.type("2\n")
        screen.wait_for("Its result, as JSON (Enter to leave out):")
        screen.type("paid\n")
        screen.wait_for("Type JSON")
        screen.type('{"paid": 812}\n')
        assert screen.wait() == 0
        assert '{"how": "It was done", "result": {"paid": 812}}' in screen.text

    @pytest.mark.one_stack
    def test_what_cannot_be_is_asked_again(self, terminal: At, ana: User, files: Path) -> None:
        screen = terminal(*cleanup(files))
        screen.wait_for(PICK)
        screen.type("1,9\n")
        screen.wait_for("There is no choice '9'.")
        screen.wait_for(PICK)
        screen.type("1\n")
        screen.wait_for(DECIDE)
        screen.type("perhaps\n")
        screen.wait_for(DECIDE)
        screen.type("a\n")
        assert screen.wait() == 0

    @pytest.mark.one_stack
    def test_what_was_typed_before_a_question_answers_nothing(
        self, terminal: At, ana: User, files: Path
    ) -> None:
        """Nobody approves what was not on the screen yet."""
        screen = terminal(*cleanup(files))
        screen.wait_for(PICK)
        screen.type("1\na\n")
        screen.wait_for(DECIDE)
        screen.type("r\n")
        screen.wait_for("Why?")
        screen.type("\n")
        assert screen.wait() == 3
        assert len(left_in(files)) == 3

    def test_a_decision_made_elsewhere_takes_the_question_away(
        self, terminal: At, manage: Manage, ana: User, files: Path
    ) -> None:
        """Whoever answers first, wherever; what was half typed here is forgotten."""
        screen = terminal(*cleanup(files))
        screen.wait_for(PICK)
        choice = json.dumps([pending("clarification").choices[1]])
        screen.type("all")
        assert manage("answer", str(pending("clarification").pk), choice, "--as", "ana").wait() == 0
        screen.wait_for("answered by ana")
        screen.wait_for(DECIDE)
        assert manage("decide", str(pending("approval").pk), "approve", "--as", "ana").wait() == 0
        assert screen.wait() == 0
        assert left_in(files) == {"a.iso", "sub/c.txt"}

    @pytest.mark.one_stack
    def test_a_run_that_is_cancelled_elsewhere_ends_with_5(
        self, terminal: At, manage: Manage, ana: User, files: Path
    ) -> None:
        """By the command for it; what the run asked is taken back."""
        screen = terminal(*cleanup(files))
        screen.wait_for(PICK)
        asked = pending("clarification")
        command = manage("cancel_run", str(Run.objects.get().pk), "--as", "ana")
        assert command.wait() == 0
        assert screen.wait() == 5
        assert Run.objects.get().status == "cancelled"
        assert queries.request_for(ana.pk, asked.pk).status == "withdrawn"

    @pytest.mark.one_stack
    def test_a_deadline_that_passes_ends_with_4(self, terminal: At, ana: User, files: Path) -> None:
        """The question leaves the screen when its time is up."""
        screen = terminal(*cleanup(files), SAYSO_DEFAULT_TIMEOUT="1")
        screen.wait_for(PICK)
        screen.wait_for("timed out")
        assert screen.wait() == 4

    @pytest.mark.one_stack
    def test_without_further_input_others_decide(
        self, terminal: At, manage: Manage, ana: User, files: Path
    ) -> None:
        """Ctrl-D leaves the run waiting, and says where it can be decided."""
        screen = terminal(*cleanup(files))
        screen.wait_for(PICK)
        screen.type(END_OF_INPUT)
        request_id = str(pending("clarification").pk)
        screen.wait_for(f"/requests/{request_id}/")
        assert manage("answer", request_id, "[]", "--as", "ana").wait() == 0
        assert screen.wait() == 0

    @pytest.mark.one_stack
    def test_what_others_must_decide_is_pointed_to(self, terminal: At, manage: Manage, ana: User) -> None:
        """No question is put to somebody who may not answer it."""
        make.user("sam")
        given = {"title": "Release", "items": [{"title": "Green", "assignees": ["sam"]}]}
        screen = terminal("orchestrate", "checklist", "--input", json.dumps(given), "--as", "ana")
        shown = screen.wait_for(" approve|reject")
        assert "sam" in shown
        (request,) = queries.list_inbox(ana.pk)
        assert manage("decide", str(request.pk), "approve", "--as", "sam").wait() == 0
        assert screen.wait() == 0
        assert "approved by sam" in screen.text
        assert "✓ step 1, completed: Green" in screen.text

    @pytest.mark.one_stack
    def test_edited_arguments_are_shown_once_more(self, terminal: At, manage: Manage, ana: User) -> None:
        """What a plan will do is what was approved last."""
        step = {"agent": "person", "action": "Which shelf?", "arguments": {}}
        given = json.dumps({"task": "Tidy up", "steps": [step]})
        screen = terminal("orchestrate", "plan", "--input", given, "--as", "ana")
        screen.wait_for("[e]dit, [l]ater:")
        screen.type("e\n")
        screen.wait_for("Arguments as JSON")
        edited = {"task": "Tidy up", "steps": [{**step, "action": "Which floor?"}]}
        screen.type(json.dumps(edited) + "\n")
        assert '"Which floor?"' in screen.wait_for("Approve these?")
        screen.type("y\n")
        screen.wait_for("Which floor?")
        screen.wait_for("Answer:")
        screen.type("The third.\n")
        assert screen.wait() == 0
        assert "Which floor?: The third." in screen.text


def held(folder: Path) -> dict[str, str]:
    """The environment of terminals that have a minute to let a step end."""
    return {
        "DJANGO_SETTINGS_MODULE": "tests.faults.settings",
        "SAYSO_TEST_LEDGER": str(folder / "ledger"),
        "SAYSO_DRAIN": "60",
    }


def held_in_a_step(terminal: At, folder: Path) -> Terminal:
    """A run in the midst of a step, which ends as soon as there is a file named "over"."""
    given = json.dumps({"until": str(folder / "over")})
    screen = terminal("orchestrate", "faults-held", "--input", given, "--as", "ana", **held(folder))
    while not (folder / "ledger").exists():
        threading.Event().wait(0.01)
    return screen


class TestLettingGo:
    """Ctrl-C leaves a run to whoever goes on with it."""

    def test_without_a_server_nobody_goes_on_until_somebody_attaches(
        self, terminal: At, ana: User, files: Path
    ) -> None:
        """The same question is put again, and the run goes on from there."""
        screen = terminal(*cleanup(files))
        screen.wait_for(PICK)
        asked, run = pending("clarification"), Run.objects.get()
        screen.type(INTERRUPT)
        assert screen.wait() == 6
        attach = f"orchestrate --attach {run.pk}"
        shown = " ".join(screen.text.split())
        assert "Nobody goes on with the run until there is a server" in shown
        assert attach in shown
        assert Run.objects.get().status == "waiting"
        assert not Executor.objects.filter(released_at__isnull=True).exists()
        again = terminal(*attach.split(), "--as", "ana")
        again.wait_for(PICK)
        assert pending("clarification").pk == asked.pk
        again.type("none\n")
        assert again.wait() == 0
        assert "Nothing was removed" in again.text

    def test_a_server_goes_on(self, terminal: At, serve: Serve, ana: User, files: Path) -> None:
        """Whoever attaches then sees, decides, and is told the end."""
        serve()
        screen = terminal(*cleanup(files))
        screen.wait_for(PICK)
        screen.type(INTERRUPT)
        assert screen.wait() == 6
        # Either before the server has taken it up, or after.
        assert re.search(r"A server goes on with the run\.|The run goes on in ", screen.text)
        again = terminal("orchestrate", "--attach", str(Run.objects.get().pk), "--as", "ana")
        again.wait_for(PICK)
        again.type("none\n")
        assert again.wait() == 0
        assert "Nothing was removed" in again.text

    @pytest.mark.one_stack
    def test_a_second_ctrl_c_ends_at_once_and_attaching_takes_over(
        self, terminal: At, ana: User, tmp_path: Path
    ) -> None:
        """A step that is held would have a minute to end. Afterwards nobody knows whether it was done."""
        screen = held_in_a_step(terminal, tmp_path)
        screen.type(INTERRUPT)
        screen.wait_for("Ctrl-C again")
        screen.type(INTERRUPT)
        assert screen.wait() == 130
        run = Run.objects.get()
        assert run.process is not None
        assert run.process.released_at is None
        again = terminal("orchestrate", "--attach", str(run.pk), "--as", "ana", **held(tmp_path))
        again.wait_for("Do it again")

    @pytest.mark.one_stack
    def test_a_step_that_is_under_way_may_end_first(self, terminal: At, ana: User, tmp_path: Path) -> None:
        """Its result is on record, so nobody has to be asked whether it was done."""
        screen = held_in_a_step(terminal, tmp_path)
        screen.type(INTERRUPT)
        screen.wait_for("Letting go")
        (tmp_path / "over").touch()
        assert screen.wait() == 6
        assert Run.objects.get().steps.get().status == "done"

    @pytest.mark.one_stack
    def test_what_nobody_executes_is_taken_up_only_by_who_may_change_it(
        self, manage: Manage, ana: User, files: Path
    ) -> None:
        """Who may not even see it, is told that there is none; who may just see it, sees it."""
        assert manage(*cleanup(files, "--detach")).wait() == 0
        run_id = str(Run.objects.get().pk)
        make.user("sam")
        stranger = manage("orchestrate", "--attach", run_id, "--as", "sam")
        assert stranger.wait() == 1
        assert "unknown_run" in stranger.output.text
        make.user("vera", may=("view_run",))
        viewer = manage("orchestrate", "--attach", run_id, "--as", "vera")
        viewer.output.wait_for("run: queued")
        viewer.signal(signal.SIGINT)
        assert viewer.wait() == 6
        assert Run.objects.get().epoch == 0
        owner = manage("orchestrate", "--attach", run_id, "--as", "ana")
        owner.output.wait_for("manage.py answer")
        assert Run.objects.get().epoch == 1


class TestWithoutATerminal:
    def test_a_run_says_where_it_is_decided_and_waits(self, manage: Manage, ana: User, files: Path) -> None:
        """Plain lines, the address of each request, and the result at the end."""
        run = manage(*cleanup(files))
        run.output.wait_for("command: manage.py answer")
        request = pending("clarification")
        assert f"page: /requests/{request.pk}/" in run.output.text
        choice = json.dumps(request.choices[:1])
        assert manage("answer", str(request.pk), choice, "--as", "ana").wait() == 0
        run.output.wait_for("command: manage.py decide")
        assert manage("decide", str(pending("approval").pk), "approve", "--as", "ana").wait() == 0
        assert run.wait() == 0
        assert "\x1b" not in run.output.text
        assert left_in(files) == {"b.log", "sub/c.txt"}

    @pytest.mark.one_stack
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["nonsense"], "Known orchestrations: checklist, disk_cleanup, plan"),
            (["disk_cleanup", "--input", '{"directory":\n "/",}'], "line 2, column"),
            (["disk_cleanup", "--input", "@/nowhere.json"], "cannot read '/nowhere.json'"),
            (["disk_cleanup", "--input", "[]"], "must be a JSON object"),
            (["disk_cleanup", "--input", '{"folder": "/"}'], "Known fields: directory"),
            (["disk_cleanup", "--input", '{"directory": "/nowhere"}'], "directory"),
            (["plan", "--input", '{"task": "x", "steps": [{"agent": "bob"}]}'], "steps[0].agent"),
            ([], "Say which orchestration"),
            (["plan", "--attach", "x"], "--attach shows an existing run"),
            (["checklist", "--as", "nobody", "--input", '{"title": "x", "items": ["y"]}'], "'nobody'"),
        ],
    )
    def test_misuse_is_refused_before_anything_starts(
        self, manage: Manage, ana: User, arguments: list[str], words: str
    ) -> None:
        """Exit status 2, and the error names the field and what is known."""
        process = manage("orchestrate", *arguments)
        assert process.wait() == 2
        assert words in process.output.text
        assert "Traceback" not in process.output.text
        assert not Run.objects.exists()

    @pytest.mark.one_stack
    def test_a_detached_run_is_a_servers(self, manage: Manage, serve: Serve, ana: User, files: Path) -> None:
        """The command prints the id and returns; a server executes it, as far as its own lists allow."""
        command = manage(*cleanup(files, "--detach"))
        assert command.wait() == 0
        run = Run.objects.get()
        assert str(run.pk) in command.output.text
        assert run.status == "queued"
        assert manage(*cleanup(files.parent, "--detach")).wait() == 0
        other = Run.objects.exclude(pk=run.pk).get()
        serve(SAYSO_CLEANUP_DIRECTORIES=str(files))
        request = self.asked(manage)
        assert manage("answer", request, "[]", "--as", "ana").wait() == 0
        refused = manage("orchestrate", "--attach", str(other.pk), "--as", "ana")
        assert refused.wait() == 1
        assert "SAYSO_CLEANUP_DIRECTORIES" in refused.output.text

    @staticmethod
    def asked(manage: Manage) -> str:
        """The id of what the run asks, as soon as it asks."""
        for _ in range(100):
            listing = manage("requests", "--as", "ana")
            assert listing.wait() == 0
            if listing.output.text:
                return listing.output.text.partition("\t")[0]
        raise AssertionError("nothing was asked")


@pytest.mark.one_stack
class TestServing:
    def test_a_port_in_use_is_said_plainly(self, manage: Manage, serve: Serve) -> None:
        server = serve()
        for command in ("serve", "demo"):
            second = manage(command, "--port", str(server.port))
            assert second.wait() == 1
            assert f"127.0.0.1:{server.port} is in use" in second.output.text
            assert "Traceback" not in second.output.text

    @pytest.mark.parametrize(
        ("options", "status", "words"),
        [
            (["--port", "70000"], 2, "70000"),
            (["--host", "203.0.113.1"], 1, "Cannot listen on 203.0.113.1"),
            (["--host", "no.such.host.invalid"], 1, "Cannot listen on no.such.host.invalid"),
        ],
    )
    def test_an_address_that_cannot_be_is_said_plainly(
        self, manage: Manage, options: list[str], status: int, words: str
    ) -> None:
        process = manage("serve", *options)
        assert process.wait() == status
        assert words in process.output.text

    def test_any_free_port_is_found_and_named(self, manage: Manage) -> None:
        server = manage("serve", "--port", "0")
        text = server.output.wait_for("listens on ")
        address = re.search(r"http://\S+", text)
        assert address
        assert httpx.get(f"{address.group()}accounts/login/", timeout=30, trust_env=False).status_code == 200
        assert server.terminate() == 0
        assert "Stopped." in server.output.text


def modes_below(folder: Path) -> dict[str, int]:
    found = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            found[path.name] = path.stat().st_mode & 0o777
    return found


@contextmanager
def umask(mode: int) -> Iterator[None]:
    former = os.umask(mode)
    try:
        yield
    finally:
        os.umask(former)


@pytest.mark.one_stack
class TestNewcomers:
    """From a fresh clone: an empty folder for the installation, and no account."""

    def test_the_first_run_prepares_everything(self, terminal: At, files: Path, tmp_path: Path) -> None:
        """Tables and an account named like the computer's user, which can sign in nowhere yet."""
        given = json.dumps({"directory": str(files)})
        screen = terminal("orchestrate", "disk_cleanup", "--input", given, SAYSO_VAR=str(tmp_path / "fresh"))
        assert f"Created the account '{computer_user()}' for you." in screen.wait_for(PICK)
        screen.type("none\n")
        assert screen.wait() == 0

    def test_demo_prepares_people_and_samples_that_wait(
        self, manage: Manage, stack: Stack, tmp_path: Path
    ) -> None:
        """Two people can sign in, three runs wait; another demo makes new passwords, not new samples. No file
        is for others, whatever the folder and the umask would let them."""
        own = tmp_path / "fresh"
        own.mkdir(mode=0o755)
        fresh = stack.environment | {"SAYSO_VAR": str(own)}
        passwords: set[str] = set()
        for _ in range(2):
            port = str(free_port())
            with umask(0):
                demo = manage("demo", "--port", port, environment=fresh, anew=True)
            text = demo.output.wait_for("until the next")
            for step in ("Creating the accounts", "Samples that wait for them: plan", "Starting the server"):
                assert step in text
            assert ("Preparing the database" in text) is (not passwords)
            for name in ("owner", "reviewer"):
                password = re.search(rf"^{name}\t(\S+)", text, re.MULTILINE)
                assert password
                passwords.add(password.group(1))
                assert self.signs_in(f"http://127.0.0.1:{port}", name, password.group(1))
            self.wait_for_samples(manage, fresh)
            made = modes_below(own)
            assert {"sayso.sqlite3", "sayso.sqlite3-wal", "ideas.txt"} <= made.keys()
            assert set(made.values()) == {0o600, 0o700}
            assert demo.terminate() == 0
        assert len(passwords) == 4

    def test_demo_leaves_other_databases_and_accounts_alone(
        self, manage: Manage, stack: Stack, tmp_path: Path
    ) -> None:
        """It refuses to hand out passwords where it could be somebody's real account."""
        make.user("reviewer")
        demo = manage("demo", "--port", str(free_port()))
        assert demo.wait() == 1
        assert "'reviewer'" in demo.output.text
        foreign = {"DATABASE_URL": "postgresql://sayso@127.0.0.1:9/sayso"}
        demo = manage("demo", "--port", str(free_port()), environment=stack.environment | foreign)
        assert demo.wait() == 1
        assert "embedded" in demo.output.text

    @staticmethod
    def signs_in(url: str, username: str, password: str) -> bool:
        with httpx.Client(base_url=url, timeout=30, trust_env=False, headers={"Referer": url}) as browser:
            browser.get("/accounts/login/")
            form = {
                "username": username,
                "password": password,
                "csrfmiddlewaretoken": browser.cookies["csrftoken"],
            }
            return browser.post("/accounts/login/", data=form).status_code == 302

    @staticmethod
    def wait_for_samples(manage: Manage, environment: dict[str, str]) -> None:
        titles: set[str] = set()
        for _ in range(100):
            listing = manage("requests", "--as", "reviewer", "--json", environment=environment)
            assert listing.wait() == 0
            titles = {request["title"] for request in json.loads(listing.output.text)}
            if len(titles) >= 3:
                break
        assert titles == {
            "Plan: Invite everybody to the summer party",
            "Release 2.4: All tests are green",
            WHICH,
        }
