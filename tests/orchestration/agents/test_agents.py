"""The built-in agents do real work, within what was allowed and approved: each in a real run."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core import mail
from pytest_django import Settings

from approvals.database.threads import in_database
from orchestration import queries
from orchestration.manager import OrchestrationManager
from orchestration.runs.interruptions import Decision
from orchestration.runtime import Runtime
from tests import factories
from tests.mail_server import SILENCE, mail_server, send_by_smtp
from tests.marks import every_engine
from tests.orchestration import watching
from tests.orchestration.agents.web_server import WebServer
from tests.orchestration.people import Attended, begin

pytestmark = pytest.mark.one_stack


async def start(
    runtime: Runtime, owner: User, agent: str, action: str, arguments: dict[str, Any]
) -> Attended:
    return await begin(runtime, "tests_one_agent", owner, agent=agent, action=action, arguments=arguments)


async def carried_out(
    runtime: Runtime, owner: User, agent: str, action: str, arguments: dict[str, Any]
) -> dict[str, Any]:
    """The run, finished, of an agent that needs nobody."""
    return await (await start(runtime, owner, agent, action, arguments)).finished()


async def messages(run: Attended) -> list[str]:
    events = OrchestrationManager().watch(run.run_id)
    return [event.data["text"] async for event in events if event.type == "agent_message"]


class TestCommand:
    @pytest.fixture(autouse=True)
    def allowed(self, settings: Settings) -> None:
        settings.SAYSO_COMMANDS = [sys.executable, "sh", "no-such-program"]

    @every_engine
    async def test_output_is_the_result_and_is_shown(self, runtime: Runtime, owner: User) -> None:
        """A name on the list is looked up; the page shows what the program says."""
        run = await start(
            runtime, owner, "command", "run", {"program": "sh", "arguments": ["-c", "echo $0 works", "it"]}
        )
        assert (await run.finished())["result"] == "it works\n"
        assert await messages(run) == ["it works\n"]

    async def test_output_is_shown_while_the_program_runs(
        self, runtime: Runtime, owner: User, tmp_path: Path
    ) -> None:
        """It goes on only when its first words were seen."""
        os.mkfifo(tmp_path / "go")
        script = f"echo first; read line < {tmp_path}/go; echo $line"
        run = await start(runtime, owner, "command", "run", {"program": "sh", "arguments": ["-c", script]})
        await watching.until(run.run_id, lambda event: event.data.get("text") == "first\n")
        await asyncio.to_thread((tmp_path / "go").write_text, "last\n")
        assert (await run.finished())["result"] == "first\nlast\n"

    @every_engine
    async def test_a_cancelled_run_kills_its_program(
        self, runtime: Runtime, owner: User, tmp_path: Path
    ) -> None:
        """The program's end closes the pipe that it holds open."""
        os.mkfifo(tmp_path / "held")
        script = f"exec 3> {tmp_path}/held; echo holding >&3; exec sleep 1000"
        run = await start(runtime, owner, "command", "run", {"program": "sh", "arguments": ["-c", script]})
        with await asyncio.to_thread((tmp_path / "held").open) as held:
            assert await asyncio.to_thread(held.readline) == "holding\n"
            await runtime.manager.acancel(factories.actor(owner), run.run_id)
            assert await asyncio.to_thread(held.read) == ""
        assert (await run.finished())["status"] == "cancelled"

    async def test_a_failure_fails_the_run_and_says_how(self, runtime: Runtime, owner: User) -> None:
        run = await carried_out(
            runtime,
            owner,
            "command",
            "run",
            {"program": sys.executable, "arguments": ["-c", "print('oh no'); raise SystemExit(3)"]},
        )
        assert (run["status"], run["error"]) == ("failed", f"{sys.executable} ended with status 3: oh no")

    async def test_a_program_that_takes_too_long_is_stopped(self, runtime: Runtime, owner: User) -> None:
        arguments = {"program": "sh", "arguments": ["-c", "exec sleep 1000"], "timeout": 0.2}
        run = await carried_out(runtime, owner, "command", "run", arguments)
        assert run["error"] == "sh was stopped after 0.2 seconds"

    async def test_long_output_is_cut(self, runtime: Runtime, owner: User) -> None:
        arguments = {
            "program": sys.executable,
            "arguments": ["-c", "print('x' * 9999)"],
            "output_limit": 1000,
        }
        run = await carried_out(runtime, owner, "command", "run", arguments)
        assert "[… 9,000 bytes left out …]" in run["result"]

    async def test_without_a_directory_it_gets_an_empty_one(self, runtime: Runtime, owner: User) -> None:
        """Which is gone afterwards, with all that the program put there."""
        arguments = {"program": "sh", "arguments": ["-c", "pwd; ls -A; mkdir -p left/behind"]}
        run = await carried_out(runtime, owner, "command", "run", arguments)
        (directory,) = run["result"].splitlines()
        arguments = {"program": "sh", "arguments": ["-c", f"ls -d {directory}"]}
        assert "No such file" in (await carried_out(runtime, owner, "command", "run", arguments))["error"]

    async def test_it_runs_where_it_is_told(self, runtime: Runtime, owner: User, tmp_path: Path) -> None:
        arguments = {"program": "sh", "arguments": ["-c", "pwd"], "directory": str(tmp_path)}
        run = await carried_out(runtime, owner, "command", "run", arguments)
        assert run["result"] == f"{tmp_path}\n"

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"program": "rm"}, "arguments.program: 'rm' may not be run here. The setting SAYSO_COMMANDS"),
            ({"program": "./sh"}, "SAYSO_COMMANDS"),
            ({"program": "no-such-program"}, "there is no program"),
            ({}, "arguments.program: is required. Known names: program, arguments, directory"),
            ({"program": "sh", "arguments": "-c id"}, "arguments.arguments: "),
            ({"program": "sh", "arguments": ["-c", 1]}, "arguments.arguments[1]: "),
            ({"program": "sh", "shell": True}, "arguments.shell: is not a known name"),
            ({"program": "sh", "timeout": 0}, "arguments.timeout: "),
            ({"program": "sh", "timeout": 1e9}, "arguments.timeout: "),
            ({"program": "sh", "output_limit": 10**9}, "arguments.output_limit: "),
            ({"program": "sh", "directory": "relative"}, "arguments.directory: "),
            ({"program": "sh", "directory": "/no/such/directory"}, "arguments.directory: "),
        ],
    )
    async def test_what_may_not_be_run_is_named(
        self, runtime: Runtime, owner: User, arguments: dict[str, Any], words: str
    ) -> None:
        run = await carried_out(runtime, owner, "command", "run", arguments)
        assert run["status"] == "failed"
        assert words in run["error"]

    async def test_nothing_is_allowed_unless_the_settings_say_so(
        self, runtime: Runtime, owner: User, settings: Settings
    ) -> None:
        settings.SAYSO_COMMANDS = []
        run = await carried_out(runtime, owner, "command", "run", {"program": "sh"})
        assert "SAYSO_COMMANDS allows: nothing" in run["error"]

    async def test_an_unknown_action_names_the_known_ones(self, runtime: Runtime, owner: User) -> None:
        run = await carried_out(runtime, owner, "command", "explode", {"program": "sh"})
        assert run["error"] == "action: 'explode' is not known here. Known actions: run."


class TestHttp:
    async def test_reading_needs_nobody(self, runtime: Runtime, owner: User, server: WebServer) -> None:
        run = await carried_out(runtime, owner, "http", "GET", {"url": server.url})
        assert run["result"] == "200 OK\n\nhello"

    async def test_a_head_has_no_text(self, runtime: Runtime, owner: User, server: WebServer) -> None:
        run = await carried_out(runtime, owner, "http", "HEAD", {"url": server.url})
        assert run["result"] == "200 OK"

    async def test_writing_waits_for_approval_of_the_exact_request(
        self, runtime: Runtime, owner: User, server: WebServer
    ) -> None:
        """And then exactly this is sent, once."""
        url = f"{server.url}/orders"
        arguments = {"url": url, "headers": {"X-Kind": "test"}, "json": {"amount": "12 €"}}
        run = await start(runtime, owner, "http", "POST", arguments)
        request = await run.asked()
        assert server.asked == []
        await run.approve()
        assert (await run.finished())["result"] == "200 OK\n\nhello"

        (sent,) = server.asked
        assert request["title"] == f"POST {url}"
        assert request["arguments"] == {
            "method": "POST",
            "url": url,
            "headers": {"Content-Type": "application/json", "X-Kind": "test"},
            "body": sent.body.decode(),
        }
        assert json.loads(sent.body) == {"amount": "12 €"}
        assert (sent.headers["X-Kind"], sent.headers["Content-Type"]) == ("test", "application/json")

    async def test_secret_headers_are_sent_and_approved_as_they_are(
        self, runtime: Runtime, owner: User, server: WebServer
    ) -> None:
        """Only people see a mask: what programs get, and what is hashed, is what is sent."""
        headers = {"Authorization": "Bearer hunter2"}
        run = await start(runtime, owner, "http", "POST", {"url": server.url, "headers": headers})
        request = await run.approve()
        await run.finished()
        assert request["arguments"]["headers"] == headers
        assert server.asked[0].headers["Authorization"] == "Bearer hunter2"

    async def test_a_rejected_request_is_not_sent(
        self, runtime: Runtime, owner: User, server: WebServer
    ) -> None:
        run = await start(runtime, owner, "http", "DELETE", {"url": server.url})
        await run.reject()
        assert (await run.finished())["status"] == "rejected"
        assert server.asked == []

    async def test_an_error_from_the_server_fails_the_run(
        self, runtime: Runtime, owner: User, server: WebServer
    ) -> None:
        url = f"{server.url}/status/500"
        run = await carried_out(runtime, owner, "http", "GET", {"url": url})
        assert run["status"] == "failed"
        assert run["error"].startswith(f"GET {url} was answered with 500 ")

    async def test_a_server_that_is_not_there_fails_the_run(self, runtime: Runtime, owner: User) -> None:
        run = await carried_out(runtime, owner, "http", "GET", {"url": "http://127.0.0.1:1/"})
        assert run["status"] == "failed"
        assert "ConnectError" in run["error"]

    @pytest.mark.parametrize(
        ("action", "arguments", "words"),
        [
            ("GET", {"url": "file:///etc/passwd"}, "arguments.url: must be an address that begins with http"),
            ("GET", {"url": "http://"}, "arguments.url: "),
            ("GET", {"url": "http://[::1"}, "arguments.url: is not an address"),
            ("GET", {}, "arguments.url: is required"),
            ("TRACE", {"url": "http://127.0.0.1"}, "Known actions: GET, HEAD, POST, PUT, PATCH, DELETE"),
            ("POST", {"url": "http://127.0.0.1", "json": 1, "body": "1"}, "give json or body, not both"),
            ("GET", {"url": "http://127.0.0.1", "headers": {"a": 1}}, "arguments.headers.a: "),
            ("GET", {"url": "http://127.0.0.1", "timeout": -1}, "arguments.timeout: "),
            ("GET", {"url": "http://ana:pw@127.0.0.1/"}, "arguments.url: must have no user or password"),
            ("GET", {"url": "http://127.0.0.1", "headers": {"Host": "b"}}, "Host is set by the connection"),
            ("GET", {"url": "http://localhost/"}, "SAYSO_HTTP_HOSTS"),
        ],
    )
    async def test_what_can_not_be_sent_is_named(
        self, runtime: Runtime, owner: User, action: str, arguments: dict[str, Any], words: str
    ) -> None:
        run = await carried_out(runtime, owner, "http", action, arguments)
        assert run["status"] == "failed"
        assert words in run["error"]


class TestEmail:
    LETTER = {"to": ["ben@example.org", "eva@example.org"], "subject": "Done", "body": "All is well."}

    async def test_it_is_sent_after_approval(self, runtime: Runtime, owner: User) -> None:
        run = await start(runtime, owner, "email", "send", self.LETTER)
        request = await run.asked("Send an email: Done")
        assert mail.outbox == []
        await run.approve()

        assert (await run.finished())["result"] == "Sent “Done” to ben@example.org, eva@example.org."
        assert request["arguments"] == {"from": "webmaster@localhost", **self.LETTER}
        (sent,) = mail.outbox
        assert (sent.to, sent.subject, sent.body) == (self.LETTER["to"], "Done", "All is well.")

    async def test_a_rejected_one_is_not_sent(self, runtime: Runtime, owner: User) -> None:
        run = await start(runtime, owner, "email", "send", self.LETTER)
        await run.reject()
        assert (await run.finished())["status"] == "rejected"
        assert mail.outbox == []

    async def test_a_mail_server_that_stays_silent_fails_the_step(
        self, runtime: Runtime, owner: User, settings: Settings
    ) -> None:
        with mail_server(SILENCE) as silent:
            send_by_smtp(settings, silent.port, timeout=0.1)
            run = await start(runtime, owner, "email", "send", self.LETTER)
            await run.approve()
            finished = await run.finished()
        assert finished["status"] == "failed"
        assert "timed out" in finished["error"]

    async def test_a_mail_server_that_never_comes_to_an_end_fails_the_step(
        self, runtime: Runtime, owner: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each of its silences is short enough; all of them together are not."""
        monkeypatch.setattr("approvals.delivery.mail.LONGEST", 0.1)
        with mail_server(SILENCE) as silent:
            send_by_smtp(settings, silent.port, timeout=60.0)
            run = await start(runtime, owner, "email", "send", self.LETTER)
            await run.approve()
            finished = await run.finished()
        assert finished["status"] == "failed"
        assert "The mail server did not answer in time." in finished["error"]

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"to": []}, "arguments.to: "),
            ({"to": ["ben@example.org", "nobody"]}, "arguments.to[1]: 'nobody' is not an email address"),
            ({"to": ["a@b.org\nBcc: c@d.org"]}, "arguments.to[0]: "),
            ({"subject": "Hi\nBcc: eva@example.org"}, "arguments.subject: must be one line of text"),
            ({"subject": " "}, "arguments.subject: "),
            ({"body": None}, "arguments.body: "),
            ({"cc": ["eva@example.org"]}, "arguments.cc: is not a known name"),
        ],
    )
    async def test_what_can_not_be_sent_is_named(
        self, runtime: Runtime, owner: User, change: dict[str, Any], words: str
    ) -> None:
        run = await carried_out(runtime, owner, "email", "send", self.LETTER | change)
        assert run["status"] == "failed"
        assert words in run["error"]


class TestPerson:
    async def test_the_action_is_the_question(self, runtime: Runtime, owner: User) -> None:
        run = await start(runtime, owner, "person", "Which shelf?", {"choices": ["top", "bottom"]})
        request = await run.answer("top", "Which shelf?")
        assert (await run.finished())["result"] == "top"
        assert request["choices"] == ["top", "bottom"]
        assert request["assignees"] == {"users": ["ana"], "groups": []}

    async def test_an_answer_that_is_no_text_becomes_json(self, runtime: Runtime, owner: User) -> None:
        run = await start(runtime, owner, "person", "Which?", {"choices": ["ä", "b"], "multiple": True})
        await run.answer(["ä"])
        assert (await run.finished())["result"] == '["ä"]'

    async def test_a_long_question_is_asked_in_full(self, runtime: Runtime, owner: User) -> None:
        question = "Is it so?\n" * 100
        run = await start(runtime, owner, "person", question, {"details": "Think twice."})
        request = await run.answer("Yes")
        await run.finished()
        assert len(request["title"]) == 200
        assert question in request["details"]
        assert "Think twice." in request["details"]

    async def test_nobody_answers_in_time(self, runtime: Runtime, owner: User) -> None:
        """The agent that asked gets the default text, whatever it had asked for."""
        arguments = {"choices": ["top", "bottom"], "timeout": 0.01}
        run = await carried_out(runtime, owner, "person", "Which shelf?", arguments)
        assert run["result"] == "No response received within timeout period"

    async def test_users_and_groups_are_asked_by_name(self, runtime: Runtime, owner: User) -> None:
        ben = await in_database(factories.user, "ben")
        await in_database(factories.group, "ops", ben)
        run = await start(runtime, owner, "person", "Ready?", {"assignees": ["ops", "ben"]})
        request = await run.answer("Yes", by=ben)
        assert request["assignees"] == {"users": ["ben"], "groups": ["ops"]}
        assert (await run.finished())["result"] == "Yes"

    async def test_unknown_and_ambiguous_names_are_refused(self, runtime: Runtime, owner: User) -> None:
        await in_database(factories.user, "ops")
        await in_database(Group.objects.create, name="ops")
        await in_database(factories.user, "gone", is_active=False)
        for name, words in [
            ("nobody", "arguments.assignees[0]: 'nobody' is no active user and no group"),
            ("gone", "'gone' is no active user and no group"),
            ("ops", "'ops' is both a user and a group"),
        ]:
            run = await carried_out(runtime, owner, "person", "Ready?", {"assignees": [name]})
            assert run["status"] == "failed"
            assert words in run["error"]


class TestInterrupted:
    """The deed had its effect, and broke off before that was on record; the run is begun anew."""

    async def begun_anew(
        self, runtime: Runtime, settings: Settings, run: Attended, *, approved: bool = False
    ) -> Attended:
        settings.SAYSO_FAILPOINTS = {"step-performed": "raise"}
        if approved:
            await run.approve()
        assert (await run.finished())["error"] == "Reached: step-performed"
        settings.SAYSO_FAILPOINTS = {}
        await runtime.manager.aresume(factories.actor(run.owner), run.run_id)
        return run

    @pytest.mark.parametrize(
        ("method", "headers"), [("GET", {}), ("POST", {"idempotency-key": "812"}), ("HEAD", {})]
    )
    async def test_requests_that_may_be_repeated_are(
        self,
        runtime: Runtime,
        owner: User,
        server: WebServer,
        settings: Settings,
        method: str,
        headers: dict[str, str],
    ) -> None:
        """By their method, or by a key that the server can tell them by. Nobody is asked again."""
        arguments = {"url": f"{server.url}/hello", "headers": headers}
        run = await start(runtime, owner, "http", method, arguments)
        await self.begun_anew(runtime, settings, run, approved=method == "POST")
        assert (await run.finished())["status"] == "completed"
        assert server.paths == [f"{method} /hello"] * 2
        requests = await in_database(queries.request_ids_of, run.run_id)
        assert len(requests) == (method == "POST")

    @pytest.mark.parametrize("method", ["POST", "PUT"])
    async def test_other_requests_are_asked_about(
        self, runtime: Runtime, owner: User, server: WebServer, settings: Settings, method: str
    ) -> None:
        """Whoever knows says what the answer was."""
        run = await start(runtime, owner, "http", method, {"url": f"{server.url}/hello"})
        await self.begun_anew(runtime, settings, run, approved=True)
        answer = {"status": 200, "reason": "OK", "location": "", "text": "seen in the log"}
        await run.answer({"decision": Decision.DONE, "result": answer}, f"Interrupted: was “{method}” done?")
        assert (await run.finished())["result"] == "200 OK\n\nseen in the log"
        assert server.paths == [f"{method} /hello"]

    async def test_an_email_is_not_sent_again_unasked(
        self, runtime: Runtime, owner: User, settings: Settings
    ) -> None:
        run = await start(runtime, owner, "email", "send", TestEmail.LETTER)
        await self.begun_anew(runtime, settings, run, approved=True)
        await run.answer({"decision": Decision.DONE}, "Interrupted: was “send” done?")
        assert (await run.finished())["status"] == "completed"
        assert len(mail.outbox) == 1

    @every_engine
    async def test_a_program_is_not_run_again_unasked(
        self, runtime: Runtime, owner: User, settings: Settings, tmp_path: Path
    ) -> None:
        """What it came to is shown as if it had been said now."""
        settings.SAYSO_COMMANDS = ["sh"]
        script = f"echo done >> {tmp_path}/log"
        run = await start(runtime, owner, "command", "run", {"program": "sh", "arguments": ["-c", script]})
        await self.begun_anew(runtime, settings, run)
        result = {"status": 0, "output": "done, says the log"}
        await run.answer({"decision": Decision.DONE, "result": result}, "Interrupted: was “run sh” done?")
        assert (await run.finished())["result"] == "done, says the log"
        assert (await messages(run))[-1] == "done, says the log"
        assert (tmp_path / "log").read_text() == "done\n"
