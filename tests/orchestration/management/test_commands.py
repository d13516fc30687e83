"""What the commands of runs decide by themselves: whose run it is, how it is shown, what it ends with."""

from __future__ import annotations

import io
import json
import re
import socket
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command, get_commands, load_command_class
from django.core.management.base import OutputWrapper
from django.db import connection
from django.db.models.functions import Now
from pytest_django import DjangoDbBlocker, Settings

from approvals.checks import SETTINGS
from approvals.database.clock import database_now
from approvals.delivery.webhooks.targets import check_target
from approvals.exceptions import InvalidRequest
from approvals.management import people
from approvals.management.screen import Misuse, Refused, Screen
from orchestration import checks
from orchestration.catalog import registry
from orchestration.engines import leases
from orchestration.exceptions import NotAllowed
from orchestration.management import demo_data, runs
from orchestration.management.commands.orchestrate import _exit_status, _join
from orchestration.management.live_view import LiveView
from orchestration.management.process_exit import Interrupts
from orchestration.management.runs import describe_takeover, owner_of_run
from orchestration.management.server import require_free
from orchestration.manager import OrchestrationManager, RunEvent
from orchestration.models import Run
from orchestration.policies import allowlists
from orchestration.runs import journal
from tests import factories as make
from tests.processes import PROJECT, run_manage
from tests.stacks import Stack

# Commands that serve pages, or name their addresses.
ALL_CHECKED = ("demo", "notify_test", "orchestrate", "resume_run", "serve", "work")


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def screen(output: io.StringIO) -> Screen:
    """A screen that is no terminal."""
    return Screen(OutputWrapper(output))


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        ("completed", "", 0),
        ("rejected", "rejected", 3),
        ("rejected", "withdrawn", 3),
        ("rejected", "timed_out", 4),
        ("failed", "timed_out", 4),
        ("failed", "step_failed", 1),
        ("cancelled", "cancelled", 5),
    ],
)
def test_each_end_has_its_exit_status(status: str, reason: str, expected: int) -> None:
    """A timeout is told apart from a rejection, whichever way it ended the run."""
    assert _exit_status({"status": status, "reason": reason}) == expected


class TestInterrupts:
    @pytest.fixture
    def said(self) -> list[str]:
        return []

    @pytest.mark.parametrize(
        ("moments", "expected"),
        [
            ([0.0], ["lets go"]),
            ([0.0, 1.9], ["lets go", "ends"]),
            ([0.0, 2.1], ["lets go", "lets go"]),
            ([0.0, 2.1, 3.0], ["lets go", "lets go", "ends"]),
        ],
    )
    def test_only_the_second_within_two_seconds_ends_at_once(
        self, said: list[str], moments: list[float], expected: list[str]
    ) -> None:
        clock = iter(moments)
        interrupts = Interrupts(lambda: said.append("lets go"), lambda: said.append("ends"), clock.__next__)
        for _ in moments:
            interrupts.interrupt()
        assert said == expected
        assert interrupts.first.is_set()


@pytest.mark.django_db
class TestCancelling:
    def cancel(self, run_id: object, username: str) -> str:
        output = io.StringIO()
        call_command("cancel_run", str(run_id), username=username, stdout=output)
        return output.getvalue()

    def test_a_run_that_nobody_executes_is_cancelled_at_once_and_again_without_harm(self) -> None:
        ana = make.user("ana")
        run_id = OrchestrationManager().start("checklist", {"title": "x", "items": ["y"]}, ana)
        for _ in range(2):
            assert self.cancel(run_id, "ana").startswith("Cancelled: ")
        run = Run.objects.get()
        assert (run.status, run.cancelled_by) == ("cancelled", ana)

    def test_a_run_that_is_executed_is_cancelled_by_its_process(self) -> None:
        run_id = OrchestrationManager().start("checklist", {"title": "x", "items": ["y"]}, make.user("ana"))
        lease = leases.take()
        journal.claim([run_id], lease.process_id)
        assert self.cancel(run_id, "ana").startswith("Its process is cancelling it: ")
        assert Run.objects.get().cancel_requested_at is not None
        leases.release(lease)

    def test_what_ended_otherwise_is_refused(self) -> None:
        run_id = OrchestrationManager().start("checklist", {"title": "x", "items": ["y"]}, make.user("ana"))
        Run.objects.update(status="failed", finished_at=Now())
        with pytest.raises(Refused, match=r"already_finished: The run is failed"):
            self.cancel(run_id, "ana")

    def test_only_who_may_change_it_cancels_it(self) -> None:
        run_id = OrchestrationManager().start("checklist", {"title": "x", "items": ["y"]}, make.user("ana"))
        make.user("sam")
        make.user("vera", may=("view_run",))
        for username, code in (("sam", "unknown_run"), ("vera", "not_permitted")):
            with pytest.raises(Refused, match=code):
                self.cancel(run_id, username)
        with pytest.raises(Refused, match="unknown_run"):
            self.cancel("nothing", "ana")
        assert Run.objects.get().status == "queued"


@pytest.mark.django_db
class TestSuccession:
    def test_it_names_who_goes_on(self, settings: Settings) -> None:
        """A process that lives and owns the run; else any server; else nobody."""
        run_id = OrchestrationManager().start("checklist", {"title": "x", "items": ["y"]}, make.user("ana"))
        terminal = leases.take(serves=False)
        assert "Nobody goes on with the run" in describe_takeover(run_id)
        server = leases.take()
        assert "A server goes on with the run." in describe_takeover(run_id)
        journal.claim([run_id], terminal.process_id)
        assert f"The run goes on in {Run.objects.get().process}." in describe_takeover(run_id)
        for lease in (terminal, server):
            leases.release(lease)
        assert "Nobody goes on with the run" in describe_takeover(run_id)

    @pytest.mark.stacks("postgresql-redis-workers")
    def test_where_workers_execute_it_names_them(self) -> None:
        run_id = OrchestrationManager().start("checklist", {"title": "x", "items": ["y"]}, make.user("ana"))
        assert "until there is a worker: manage.py work" in describe_takeover(run_id)
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO procrastinate_workers DEFAULT VALUES")
        assert "A worker goes on with the run." in describe_takeover(run_id)


@pytest.mark.django_db
@pytest.mark.one_stack
class TestOwners:
    @pytest.fixture(autouse=True)
    def on_this_computer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever runs the tests is called ana."""
        monkeypatch.setattr(people, "computer_user", lambda: "ana")
        monkeypatch.setattr(runs, "computer_user", lambda: "ana")

    def test_the_first_owner_is_made(self, screen: Screen, output: io.StringIO) -> None:
        """An account of no special rights, which can sign in nowhere before it has a password."""
        owner = owner_of_run(None, screen)
        assert (owner.username, owner.is_staff, owner.is_superuser) == ("ana", False, False)
        assert not owner.has_usable_password()
        assert "changepassword ana" in output.getvalue()

    def test_an_account_that_is_there_is_used(self, screen: Screen, output: io.StringIO) -> None:
        ana = make.user("ana")
        assert owner_of_run(None, screen) == ana
        assert output.getvalue() == ""

    def test_beside_other_people_the_computers_user_gets_an_own_account(self, screen: Screen) -> None:
        """As after `demo`, whose people are not those who run commands."""
        make.user("owner")
        make.user("reviewer")
        assert owner_of_run(None, screen).username == "ana"

    def test_an_account_that_was_switched_off_is_not_made_anew(self, screen: Screen) -> None:
        make.user("ana", is_active=False)
        with pytest.raises(Misuse):
            owner_of_run(None, screen)

    def test_a_named_owner_must_exist(self, screen: Screen) -> None:
        with pytest.raises(Misuse, match="no account 'bob'"):
            owner_of_run("bob", screen)
        assert not User.objects.exists()


@pytest.mark.django_db
def test_a_real_database_gets_no_accounts_by_itself(screen: Screen, stack: Any) -> None:
    """Only where whoever runs the command owns the database."""
    if stack.engine == "sqlite":
        assert owner_of_run(None, screen)
        return
    with pytest.raises(Misuse, match="no accounts yet"):
        owner_of_run(None, screen)


class TestLive:
    async def test_chunks_are_shown_as_whole_lines(self, screen: Screen, output: io.StringIO) -> None:
        """What is left over is shown when something else happens."""
        live = LiveView(screen, 1, None)
        for text in ("Hel", "lo\nyou", " there"):
            await live.show(RunEvent(type="agent_message_chunk", data={"agent": "bot", "text": text}))
        assert output.getvalue() == "bot: Hello\n"
        await live.show(RunEvent(type="agent_message", data={"agent": "bot", "text": "One\nTwo"}))
        assert output.getvalue() == "bot: Hello\nbot: you there\nbot: One\nbot: Two\n"

    async def test_only_what_changes_is_shown(self, screen: Screen, output: io.StringIO) -> None:
        live = LiveView(screen, 1, None)
        for states in (("running", "pending"), ("completed", "running")):
            await live.show(RunEvent(type="run_status", data={"run": self.run_with(states)}))
        assert output.getvalue().splitlines() == [
            "run: running",
            "▸ step 1, running: Do 0",
            "○ step 2, pending: Do 1",
            "✓ step 1, completed: Do 0",
            "▸ step 2, running: Do 1",
        ]

    @staticmethod
    def run_with(states: tuple[str, ...]) -> Mapping[str, Any]:
        plan = [{"action": f"Do {number}", "state": state} for number, state in enumerate(states)]
        return {"status": "running", "plan": plan}


class TestAddresses:
    def test_a_port_is_free_unless_somebody_listens_there(self) -> None:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            port = listening.getsockname()[1]
            with pytest.raises(Refused, match=str(port)):
                require_free("127.0.0.1", port)
        require_free("127.0.0.1", port)
        require_free("localhost", 0)

    @pytest.mark.parametrize("port", [-1, 65_536])
    def test_an_impossible_port_is_misuse(self, port: int) -> None:
        with pytest.raises(Misuse):
            require_free("127.0.0.1", port)


@pytest.mark.django_db
@pytest.mark.one_stack
class TestShowroom:
    @pytest.fixture(autouse=True)
    def own_folder(self, settings: Settings, tmp_path: Path) -> None:
        settings.SAYSO_VAR = tmp_path

    def test_the_people_have_the_roles_of_readme(self) -> None:
        """The reviewer may look and decide, but not administer."""
        said = {name: may for name, _, may in demo_data.demo_people()}
        roles = re.findall(r"^\| `(\w+)` \|", (PROJECT / "README.md").read_text(), re.MULTILINE)
        for name, may in said.items():
            groups = {*User.objects.get(username=name).groups.values_list("name", flat=True)} - {
                demo_data.DEMO
            }
            assert groups < {*roles}
            assert may.endswith(f"({' and '.join(sorted(groups, reverse=True))})")
        owner, reviewer = (User.objects.get(username=name) for name in ("owner", "reviewer"))
        assert not owner.is_staff
        assert (reviewer.is_staff, reviewer.is_superuser) == (True, False)
        assert reviewer.has_perms(["approvals.decide_humanrequest", "orchestration.view_run"])
        assert not reviewer.has_perm("auth.change_user")

    def test_passwords_are_new_each_time_and_the_last_one_holds(self) -> None:
        first, second = (demo_data.demo_people() for _ in range(2))
        owner = User.objects.get(username="owner")
        assert owner.check_password(second[0][1])
        assert not owner.check_password(first[0][1])

    def test_what_the_samples_do_is_allowed_and_nothing_else(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        """For accounts may be written to in any case."""
        settings.SAYSO_CLEANUP_DIRECTORIES, settings.SAYSO_EMAIL_RECIPIENTS = [], []
        make.user("eva", email="eva@example.com")
        demo_data.allow_samples()
        allowlists.check_directory(str(tmp_path / "demo" / "files"))
        allowlists.check_recipients(["everybody@example.org", "eva@example.com"])
        for refused in (
            partial(allowlists.check_directory, str(tmp_path / "demo")),
            partial(allowlists.check_recipients, ["somebody@example.org"]),
            partial(allowlists.check_program, "sh"),
            partial(check_target, "http://localhost/", allowlists.http_reach()),
        ):
            with pytest.raises((NotAllowed, InvalidRequest)):
                refused()

    def test_somebody_elses_account_is_left_alone(self) -> None:
        make.user("owner", password="her own")
        with pytest.raises(Refused, match="'owner'"):
            demo_data.demo_people()
        assert User.objects.get(username="owner").check_password("her own")
        assert not Group.objects.filter(name=demo_data.DEMO).exists()

    def test_samples_that_wait_are_not_started_again_and_ended_ones_are(self, tmp_path: Path) -> None:
        demo_data.demo_people()
        for _ in range(2):
            demo_data.start_samples()
        assert Run.objects.count() == 3
        Run.objects.filter(orchestration="disk_cleanup").update(
            status="cancelled", finished_at=Run.objects.latest("created_at").created_at
        )
        (tmp_path / "demo/files/notes/ideas.txt").unlink()
        demo_data.start_samples()
        assert sorted(Run.objects.values_list("key", flat=True)) == [
            "demo-checklist-1",
            "demo-disk_cleanup-1",
            "demo-disk_cleanup-2",
            "demo-plan-1",
        ]
        assert (tmp_path / "demo/files/notes/ideas.txt").exists()


@pytest.mark.django_db
@pytest.mark.one_stack
@pytest.mark.parametrize(("person", "limited"), [("ana", False), ("boss", True)])
def test_who_looks_at_a_strangers_run_does_not_do_for_them_what_they_may_not(
    tmp_path: Path, person: str, *, limited: bool
) -> None:
    """Attached to one's own run, this terminal needs no list; somebody else's keeps to the settings."""
    make.user("boss", may=("view_run", "change_run"))
    with allowlists.unlimited():
        given = {"directory": str(tmp_path)}
        run_id = OrchestrationManager().start("disk_cleanup", given, make.user("ana"))
    _, _, lists = _join(str(run_id), person)
    with lists, pytest.raises(NotAllowed) if limited else nullcontext():
        allowlists.check_directory(str(tmp_path))


@pytest.mark.django_db
@pytest.mark.one_stack
def test_a_detached_run_is_queued_and_its_id_printed(output: io.StringIO, tmp_path: Path) -> None:
    """Standard output has the id and nothing else."""
    ana = make.user("ana")
    given = json.dumps({"directory": str(tmp_path)})
    call_command(
        "orchestrate",
        "disk_cleanup",
        input=given,
        username="ana",
        detach=True,
        stdout=output,
        stderr=io.StringIO(),
    )
    run = Run.objects.get()
    assert output.getvalue() == f"{run.pk}\n"
    assert (run.owner, run.status, run.process) == (ana, "queued", None)


@pytest.mark.parametrize("detach", [False, True])
def test_the_terminal_refuses_what_it_does_not_know_before_anything_starts(
    detach: bool, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker
) -> None:
    """Not even the database is asked; what could not be imported is named."""
    monkeypatch.setitem(registry._broken, "shop.orchestrations", "NameError: name 'x' is not defined")
    with django_db_blocker.block(), pytest.raises(Misuse, match=r"shop\.orchestrations .* NameError"):
        call_command("orchestrate", "shredder", detach=detach, skip_checks=True)


@pytest.mark.django_db
class TestChangingRuns:
    """`cancel_run` and `resume_run`."""

    @pytest.fixture(autouse=True)
    def people(self) -> None:
        make.user("ana")
        make.user("bob")

    def started(self, **fields: Any) -> Run:
        given = {"title": "Friday", "items": ["a"]}
        run_id = OrchestrationManager().start("checklist", given, User.objects.get(username="ana"))
        Run.objects.filter(pk=run_id).update(**fields)
        return Run.objects.get(pk=run_id)

    def ended(self, status: str) -> Run:
        run = self.started(status=status, reason=status, finished_at=database_now())
        at = {"started_at": run.created_at, "finished_at": run.created_at}
        outcome = {"approved": False, "timed_out": False, "withdrawn": False, "answer": None}
        run.steps.create(
            key="a#1", position=1, kind="approve", name="Item 1", status="done", result=outcome, **at
        )
        return run

    def test_a_run_is_cancelled_and_that_it_was_is_told(self, output: io.StringIO) -> None:
        run = self.started()
        for _ in range(2):
            call_command("cancel_run", str(run.pk), username="ana", stdout=output)
        run.refresh_from_db()
        assert (run.status, run.cancelled_by) == ("cancelled", User.objects.get(username="ana"))
        assert run.cancelled_from["channel"] == "command"
        assert output.getvalue() == f"Cancelled: Checklist: Friday, {run.pk}\n" * 2

    def test_what_has_ended_otherwise_is_refused(self) -> None:
        run = self.ended("completed")
        for command in ("cancel_run", "resume_run"):
            with pytest.raises(Refused, match=r"^already_finished: The run is completed") as refused:
                call_command(command, str(run.pk), username="ana")
            assert refused.value.returncode == 1

    def test_what_resuming_asks_again_is_said_before(self, output: io.StringIO) -> None:
        """A rehearsal says it, and changes nothing."""
        run = self.ended("rejected")
        said = (
            f"Checklist: Friday, {run.pk}: rejected\nAsks again: Item 1 (rejected).\n"
            "What is recorded as done is not done again.\n"
        )
        call_command("resume_run", str(run.pk), username="ana", dry_run=True, stdout=output)
        assert output.getvalue() == said
        run.refresh_from_db()
        assert run.status == "rejected"
        call_command("resume_run", str(run.pk), username="ana", yes=True, stdout=output)
        assert output.getvalue() == f"{said}{said}Queued for a server or worker; see /runs/{run.pk}/\n"
        run.refresh_from_db()
        assert (run.status, run.resumed_by) == ("queued", User.objects.get(username="ana"))
        call_command("resume_run", str(run.pk), username="ana", yes=True, stdout=output)
        assert output.getvalue().endswith(f"The run is queued already: Checklist: Friday, {run.pk}\n")

    @pytest.mark.parametrize(("typed", "status"), [("y\n", "queued"), ("n\n", "rejected"), ("", "rejected")])
    def test_a_person_at_a_terminal_is_asked_first(
        self, monkeypatch: pytest.MonkeyPatch, typed: str, status: str
    ) -> None:
        run = self.ended("rejected")
        stdin = io.StringIO(typed)
        monkeypatch.setattr(stdin, "isatty", lambda: True)
        monkeypatch.setattr("sys.stdin", stdin)
        with nullcontext() if status == "queued" else pytest.raises(Refused, match=r"Nothing was changed"):
            call_command("resume_run", str(run.pk), username="ana", stdout=io.StringIO())
        run.refresh_from_db()
        assert run.status == status

    @pytest.mark.parametrize("command", ["cancel_run", "resume_run"])
    def test_others_runs_do_not_exist(self, command: str) -> None:
        run = self.ended("rejected")
        for text in (str(run.pk), str(run.pk)[:13], "nonsense"):
            with pytest.raises(Refused, match=r"^unknown_run: "):
                call_command(command, text, username="bob")

    def test_a_beginning_of_an_id_will_do_where_it_is_the_only_one(self, output: io.StringIO) -> None:
        first, second = self.started(), self.started()
        pairs = zip(str(first.pk), str(second.pk), strict=True)
        shared = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        candidates = (
            f"several runs begin with '{shared}'.\n  {second.pk} {second.title}\n  {first.pk} {first.title}"
        )
        with pytest.raises(Misuse) as several:
            call_command("cancel_run", shared, username="ana")
        assert str(several.value) == f"ID must be longer: the ids of {candidates}"
        for command in (("cancel_run", "-"), ("resume_run", "019"), ("orchestrate", "--attach", "")):
            with pytest.raises(Misuse, match="must be an id, or its first characters, at least 4"):
                call_command(*command, username="ana")
        for text in (str(second.pk)[: len(shared) + 1], str(second.pk).upper(), second.pk.hex):
            call_command("cancel_run", text, username="ana", stdout=output)
        assert set(Run.objects.filter(status="cancelled")) == {second}


class TestChecks:
    def test_an_unknown_engine_is_an_error(self, settings: Settings) -> None:
        assert list(checks.check_engine()) == []
        settings.SAYSO_ENGINE = "steam"
        (message,) = checks.check_engine()
        assert message.id == "sayso.E101"

    @pytest.mark.stacks("postgresql-memory")
    def test_a_queue_whose_app_is_missing_is_an_error(
        self, stack: Stack, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.SAYSO_ENGINE = "procrastinate"
        assert list(checks.check_engine()) == []
        monkeypatch.setattr(checks, "_QUEUE", "queue.of.a.project")
        (message,) = checks.check_engine()
        assert (message.id, message.hint) == ("sayso.E107", 'INSTALLED_APPS += ["queue.of.a.project"]')
        monkeypatch.setitem(sys.modules, "procrastinate", None)  # as where it is not installed
        (message,) = checks.check_engine()
        assert str(message.hint).startswith("Install the extra `workers`: ")

    def test_each_command_checks_the_settings_and_those_with_pages_check_these_too(self) -> None:
        commands = get_commands()
        ours = {name for name, app in commands.items() if app in {"approvals", "orchestration"}} - {"flush"}
        checked = {name: load_command_class(commands[name], name).requires_system_checks for name in ours}
        assert {name: tags for name, tags in checked.items() if tags != (SETTINGS,)} == {
            **dict.fromkeys(ALL_CHECKED, "__all__"),
            **{name: [] for name in ["audit_verify", "benchmark"]},
        }

    @pytest.mark.processes
    @pytest.mark.one_stack
    def test_no_command_starts_with_a_wrong_setting(self, stack: Stack) -> None:
        wrong = stack.environment | {"SAYSO_LEASE": "-1"}
        ended = run_manage("orchestrations", environment=wrong)
        assert ended.returncode == 1
        assert "sayso.E103" in ended.stderr

    def test_a_program_that_is_not_there_is_reported(self, settings: Settings) -> None:
        settings.SAYSO_COMMANDS = ["sh", "no-such-program"]
        (message,) = checks.check_commands()
        assert "no-such-program" in message.msg
