"""What built-in effects may reach is up to the process that executes them: nothing but what it lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from approvals.database.threads import in_database
from orchestration import checks
from orchestration.exceptions import InvalidInput, NotAllowed
from orchestration.policies import allowlists
from orchestration.runtime import Runtime, start_runtime, stop_runtime
from tests import factories
from tests.effort import SHARED_FIXTURES, effort
from tests.orchestration.people import begin
from tests.stacks import Stack

pytestmark = pytest.mark.one_stack

PICK = "Which files shall be removed?"
LETTER = {"subject": "Done", "body": "All is well."}


@pytest.fixture
async def owner(stack: Stack) -> User:
    return await in_database(factories.user, "ana", email="ana@example.org")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)
    return path


async def terminal() -> Runtime:
    runtime = await start_runtime(serves=False)
    await runtime.host.ready()
    return runtime


def exists(path: Path) -> bool:
    return path.exists()


def step(agent: str, action: str, **arguments: Any) -> dict[str, Any]:
    return {"agent": agent, "action": action, "arguments": arguments}


class TestTheProcessThatExecutes:
    @pytest.mark.parametrize(
        ("name", "asked", "setting"),
        [
            ("disk_cleanup", {"directory": "/etc"}, "SAYSO_CLEANUP_DIRECTORIES"),
            ("disk_cleanup", {"directory": "/no/such/directory"}, "SAYSO_CLEANUP_DIRECTORIES"),
            ("plan", step("http", "GET", url="http://localhost:1/"), "SAYSO_HTTP_HOSTS"),
            ("plan", step("http", "POST", url="http://169.254.169.254/latest"), "SAYSO_HTTP_HOSTS"),
            ("plan", step("email", "send", to=["eva@elsewhere.example"], **LETTER), "SAYSO_EMAIL_RECIPIENTS"),
            ("plan", step("command", "run", program="sh"), "SAYSO_COMMANDS"),
        ],
    )
    async def test_nothing_is_allowed_unless_the_settings_say_so(
        self, runtime: Runtime, owner: User, name: str, asked: dict[str, Any], setting: str
    ) -> None:
        """Whoever may start runs is told at once, and not whether what was named is there."""
        value = {"task": "Try", "steps": [asked]} if name == "plan" else asked
        with pytest.raises(InvalidInput, match=setting):
            await begin(runtime, name, owner, **value)

    async def test_a_server_that_takes_up_a_terminals_run_holds_to_its_own_lists(
        self, stack: Stack, owner: User, file: Path
    ) -> None:
        """The terminal listed the files without any; it lets go, and a server is to remove them."""
        with allowlists.unlimited():
            run = await begin(await terminal(), "disk_cleanup", owner, directory=str(file.parent))
            await run.answer(["file — 10 bytes"], PICK)
            await run.asked("Remove 1 file, 10 bytes")
            await stop_runtime()
        await start_runtime()
        await run.approve()
        finished = await run.finished()
        await stop_runtime()

        assert finished["status"] == "failed"
        assert "Step 'remove' failed: directory: " in finished["error"]
        assert "SAYSO_CLEANUP_DIRECTORIES" in finished["error"]
        assert exists(file)

    async def test_a_terminal_needs_no_list_for_what_it_executes_itself(
        self, stack: Stack, owner: User, file: Path
    ) -> None:
        """In its threads and tasks alike; what is started after it is limited again."""
        with allowlists.unlimited():
            run = await begin(await terminal(), "disk_cleanup", owner, directory=str(file.parent))
        await run.answer(["file — 10 bytes"], PICK)
        await run.approve()
        finished = await run.finished()
        await stop_runtime()

        assert (finished["status"], exists(file)) == ("completed", False)
        with pytest.raises(NotAllowed):
            allowlists.check_directory(str(file.parent))

    async def test_a_plan_is_refused_again_where_its_approver_has_edited_it(
        self, runtime: Runtime, owner: User, settings: Settings
    ) -> None:
        """By the process that is to carry it out, before anybody approves what can't be."""
        settings.SAYSO_COMMANDS = ["sh"]
        steps = [step("command", "run", program="sh", arguments=["-c", "true"])]
        run = await begin(runtime, "plan", owner, task="Try", steps=steps)
        other = [step("command", "run", program="id") | {"approval": False}]
        await run.approve(arguments={"task": "Try", "steps": other})
        request = await run.reject(title="Plan 2: Try")

        assert "SAYSO_COMMANDS" in request["details"]
        assert (await run.finished())["status"] == "rejected"


class TestDirectories:
    NAMES = ("allowed", "outside", "allowed-too", "in", "back", "out", "..", ".", "")

    @pytest.fixture
    def tree(self, tmp_path: Path, settings: Settings) -> Path:
        """Links lead out of what is allowed, and into it."""
        tree = tmp_path
        settings.SAYSO_CLEANUP_DIRECTORIES = [str(tree / "link")]
        for folder in ("allowed/in", "outside/in", "allowed-too/in"):
            (tree / folder).mkdir(parents=True)
        (tree / "allowed" / "out").symlink_to(tree / "outside")
        (tree / "outside" / "back").symlink_to(tree / "allowed" / "in")
        (tree / "link").symlink_to(tree / "allowed")
        return tree

    @effort(300, allowed=(SHARED_FIXTURES,))
    @given(st.lists(st.sampled_from(NAMES), max_size=6))
    def test_no_spelling_and_no_link_leads_outside(self, tree: Path, names: Sequence[str]) -> None:
        """Checked against the folders themselves: is one of those above it the allowed one?"""
        path = "/".join([str(tree), *names])
        if Path(path).is_dir():
            assert _is_allowed(path) is _is_in(path, tree / "allowed")

    @pytest.mark.parametrize("entry", ["", ".", "relative", "~"])
    def test_an_entry_that_is_no_absolute_path_allows_nothing(
        self, settings: Settings, tmp_path: Path, entry: str
    ) -> None:
        settings.SAYSO_CLEANUP_DIRECTORIES = [entry]
        assert not _is_allowed(str(Path.cwd()))
        assert not _is_allowed(str(tmp_path))

    def test_a_project_of_ones_own_has_one_dictionary(self, settings: Settings, tmp_path: Path) -> None:
        assert not _is_allowed(str(tmp_path))
        settings.SAYSO = {"CLEANUP_DIRECTORIES": [str(tmp_path)]}
        assert _is_allowed(str(tmp_path))


def _is_allowed(path: str) -> bool:
    try:
        allowlists.check_directory(path)
    except NotAllowed:
        return False
    return True


def _is_in(path: str, allowed: Path) -> bool:
    while not Path(path).samefile("/"):
        if Path(path).samefile(allowed):
            return True
        path = f"{path}/.."
    return False


@pytest.mark.django_db
class TestRecipients:
    def test_by_default_they_are_active_accounts(self) -> None:
        factories.user("eva", email="Eva@Example.org")
        factories.user("gone", email="gone@example.org", is_active=False)
        factories.user("none")
        allowlists.check_recipients(["eva@example.org", "EVA@EXAMPLE.ORG"])
        for address in ("gone@example.org", "eva@example.com", "eva@example.org.evil.example", ""):
            with pytest.raises(NotAllowed, match="SAYSO_EMAIL_RECIPIENTS") as refused:
                allowlists.check_recipients(["eva@example.org", address])
            assert refused.value.field == "arguments.to[1]"

    def test_a_list_replaces_them_unless_it_names_them(self, settings: Settings) -> None:
        factories.user("eva", email="eva@example.org")
        settings.SAYSO_EMAIL_RECIPIENTS = ["ops@example.com", "*@Lists.example.com"]
        allowlists.check_recipients(["OPS@example.com", "all@lists.example.com"])
        with pytest.raises(NotAllowed):
            allowlists.check_recipients(["eva@example.org"])
        settings.SAYSO_EMAIL_RECIPIENTS = ["ops@example.com", "accounts"]
        allowlists.check_recipients(["ops@example.com", "eva@example.org"])

    @pytest.mark.parametrize("look_alike", ["\u212aate@example.org", "ka\u017fe@example.org"])
    def test_letters_that_become_others_in_lower_case_are_other_mailboxes(self, look_alike: str) -> None:
        factories.user("kate", email="kate@example.org")
        factories.user("kase", email="kase@example.org")
        with pytest.raises(NotAllowed):
            allowlists.check_recipients([look_alike])

    async def test_whoever_lost_the_account_meanwhile_is_not_written_to(
        self, runtime: Runtime, owner: User
    ) -> None:
        """It is looked up once more right before the email is sent."""
        eva = await in_database(factories.user, "eva", email="eva@example.org")
        steps = [step("email", "send", to=["eva@example.org"], **LETTER)]
        run = await begin(runtime, "plan", owner, task="Write", steps=steps)
        await run.approve()
        await run.asked("Send an email: Done")
        eva.is_active = False
        await in_database(eva.save)
        await run.approve()

        assert "SAYSO_EMAIL_RECIPIENTS" in (await run.finished())["error"]
        assert mail.outbox == []


class TestChecks:
    @pytest.mark.parametrize(
        ("setting", "value", "ids"),
        [
            ("SAYSO_HTTP_HOSTS", ["*.example.org", "10.0.0.1"], []),
            ("SAYSO_HTTP_HOSTS", ["https://example.org", "*"], ["sayso.W103"] * 2),
            ("SAYSO_HTTP_NETWORKS", ["10.0.0.0/8"], []),
            ("SAYSO_HTTP_NETWORKS", ["10.0.0.0/40", "0.0.0.0/0"], ["sayso.E106", "sayso.W102"]),
            ("SAYSO_CLEANUP_DIRECTORIES", ["/var/cache"], []),
            ("SAYSO_CLEANUP_DIRECTORIES", ["cache", "/"], ["sayso.W104", "sayso.W105"]),
            ("SAYSO_EMAIL_RECIPIENTS", ["accounts", "a@example.org", "*@example.org"], []),
            ("SAYSO_EMAIL_RECIPIENTS", ["example.org", "*"], ["sayso.W106"] * 2),
        ],
    )
    def test_an_entry_that_can_not_be_meant_is_reported(
        self, settings: Settings, setting: str, value: list[str], ids: list[str]
    ) -> None:
        setattr(settings, setting, value)
        found = list(checks.check_effects())
        assert [message.id for message in found] == ids
        assert all(setting in message.msg for message in found)


def test_a_refusal_is_a_wrong_input() -> None:
    """So edges answer it as they do any other."""
    assert issubclass(NotAllowed, InvalidInput)
