"""Log lines: one shape for all loggers, fields in JSON, ids of what they were written for, no secrets."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from approvals import deciding
from approvals.database.threads import in_database
from approvals.logs import formatter
from approvals.process import telemetry
from orchestration.manager import OrchestrationManager
from tests import factories
from tests.conftest import Manage, Serve
from tests.orchestration.watching import asked, finished
from tests.patience import patience
from tests.processes import Server
from tests.stacks import Stack


def line_of(form: str, *args: Any, name: str = "approvals.tests", **more: Any) -> str:
    """A line of a logger of ours."""
    record = logging.getLogger(name).makeRecord(
        name, logging.WARNING, __file__, 1, args[0], args[1:], more.pop("exc_info", None), extra=more
    )
    settings = formatter(form)
    return settings.pop("()")(**settings).format(record)  # type: ignore[no-any-return]


def json_of(*args: Any, **more: Any) -> dict[str, Any]:
    line = line_of("json", *args, **more)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    assert found.pop("time").endswith("Z")
    return found


class TestFields:
    def test_words_and_fields_are_apart(self) -> None:
        assert json_of("run ended run=%s status=%s reason=%s", "01a2", "failed", "too late") == {
            "event": "run ended",
            "run": "01a2",
            "status": "failed",
            "reason": "too late",
            "level": "warning",
            "logger": "approvals.tests",
        }

    def test_numbers_stay_numbers_and_the_rest_is_text(self) -> None:
        found = json_of("batch_failed commands=%d error=%r: one by one", 3, ValueError("no"))
        assert found["event"] == "batch_failed: one by one"
        assert (found["commands"], found["error"]) == (3, "ValueError('no')")

    @pytest.mark.parametrize("form", ["json", "text"])
    def test_no_secret_of_an_error_is_in_its_traceback(self, form: str) -> None:
        error = ConnectionError("postgres://app:hunter2@db/x is away")
        line = line_of(form, "step failed", exc_info=(ConnectionError, error, None))
        assert "postgres://•••@db/x is away" in line
        assert "hunter2" not in line

    def test_words_may_have_values_too(self) -> None:
        found = json_of("%s away error=%s; 100%% sure", "database", "gone")
        assert (found["event"], found["error"]) == ("database away; 100% sure", "gone")

    def test_no_field_takes_the_place_of_what_is_always_there(self) -> None:
        found = json_of("words level=%s event=%s", "quiet", "none")
        assert (found["level"], found["event"]) == ("warning", "words")

    def test_a_message_whose_values_do_not_fit_is_kept(self) -> None:
        assert json_of("run=%s", {"run": "x"})["event"]

    def test_others_messages_stay_whole(self) -> None:
        found = json_of("Not Found: %s", "/x=1", name="django.request", status_code=404, request=object())
        assert (found["event"], found["status_code"]) == ("Not Found: /x=1", 404)
        assert "request" not in found

    @pytest.mark.parametrize("form", ["json", "text"])
    def test_tracebacks_do_not_show_what_variables_hold(self, form: str) -> None:
        secret = "hunter2"
        try:
            int(secret[:0])
        except ValueError:
            line = line_of(form, "oh", exc_info=sys.exc_info())
        assert "ValueError" in line
        assert secret not in line.replace('secret = "hunter2"', "")

    def test_a_line_of_text_is_one_line_whatever_an_address_has_in_it(self) -> None:
        line = line_of("text", "Not Found: %s", "/\n2026 forged\x1b[31m\u2028")
        assert line.splitlines() == [line]
        assert "\x1b" not in line
        assert r"/\n2026 forged\x1b[31m\u2028" in line

    @pytest.mark.parametrize("form", ["json", "text"])
    def test_a_line_carries_the_ids_of_its_task(self, form: str) -> None:
        with telemetry.bind_ids(run="01a2", request_id="77"):
            line = line_of(form, "oh")
        assert "01a2" in line
        assert "77" in line
        assert "01a2" not in line_of(form, "oh")


def lines_of(server: Server) -> Iterator[dict[str, Any]]:
    """The log lines of a server, each of which is JSON; what it prints for people is none."""
    for_people = ("Preparing the database", "Starting the server", "Sayso listens", "Stopped.")
    for line in server.output.text.splitlines():
        if not line.startswith(for_people):
            yield json.loads(line)


@pytest.mark.django_db
class TestServed:
    @pytest.mark.one_stack
    def test_every_line_is_json_and_has_its_request(self, serve: Serve) -> None:
        server = serve(SAYSO_LOG_FORMAT="json")
        found = httpx.get(f"{server.url}/nowhere?token=hunter2", timeout=patience(), trust_env=False)
        server.output.wait_for("Not Found")
        (line,) = [line for line in lines_of(server) if line["event"].startswith("Not Found")]
        assert line["logger"] == "django.request"
        assert line["request_id"] == found.headers["x-request-id"]
        assert "hunter2" not in server.output.text

    @pytest.mark.one_stack
    async def test_the_lines_of_a_run_name_it(self, serve: Serve) -> None:
        server = serve(SAYSO_LOG_FORMAT="json")
        owner = await in_database(factories.user)
        given = {"title": "Release", "items": ["Tests are green"]}
        run_id = await in_database(OrchestrationManager().start, "checklist", given, owner)
        await deciding.adecide(factories.actor(owner), (await asked(run_id))["id"], "approve")
        await finished(run_id)
        await in_database(server.output.wait_for, "run ended")
        (line,) = [line for line in lines_of(server) if line["event"] == "run ended"]
        assert (line["run"], line["status"]) == (str(run_id), "completed")
        assert "request_id" not in line

    @pytest.mark.parametrize(("proxies", "believed"), [("127.0.0.1", True), ("", False)])
    @pytest.mark.one_stack
    def test_only_a_trusted_proxy_names_requests(self, serve: Serve, proxies: str, *, believed: bool) -> None:
        server = serve(SAYSO_TRUSTED_PROXIES=proxies)
        ids = {
            named: httpx.get(
                f"{server.url}/healthz/live",
                headers={"x-request-id": named},
                timeout=patience(),
                trust_env=False,
            ).headers.get_list("x-request-id")
            for named in ("from-the-proxy.1", "two words", "x" * 101)
        }
        assert all(len(one) == 1 for one in ids.values())
        assert (ids["from-the-proxy.1"] == ["from-the-proxy.1"]) is believed
        assert "two words" not in ids["two words"]
        assert "x" * 101 not in ids["x" * 101]

    @pytest.mark.stacks("postgresql-redis")
    def test_a_worker_has_lines_of_the_same_shape(self, stack: Stack, manage: Manage) -> None:
        environment = stack.environment | {"SAYSO_ENGINE": "procrastinate", "SAYSO_LOG_FORMAT": "json"}
        worker = manage("work", environment=environment)
        worker.output.wait_for("works on up to")
        assert worker.terminate() == 0
        for line in worker.output.text.splitlines():
            if not line.startswith(("Sayso works", "Stopped.")):
                assert {"event", "level", "logger", "time"} <= json.loads(line).keys()
