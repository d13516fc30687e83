"""The recipes of docs/recipes.md, with the engines themselves; workers are killed while they wait."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from tests.adapters.desk import Desk, Say
from tests.adapters.recipes import Kitchen, kitchen, until_it_answers
from tests.patience import patience
from tests.processes import Process, free_port
from tests.servers import RedisServer

__all__ = ["kitchen"]

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.processes,
    pytest.mark.one_stack,
    pytest.mark.usefixtures("shared_server"),
]

SERVER_ENVIRONMENT = {"SAYSO_CALLBACK_HOSTS": "127.0.0.1", "SAYSO_CALLBACK_NETWORKS": "127.0.0.0/8"}

LESS: Say = ("edit", {"amount": "10.00"})
NO: Say = ("reject", "not before Friday")
SAID = [(LESS, "paid 10.00 for 812\n"), (NO, "Rejected by ann: not before Friday\n")]

decisions = pytest.mark.parametrize(("said", "told"), SAID)


class TestDbos:
    @decisions
    def test_a_step_waits(self, desk: Desk, kitchen: Kitchen, said: Say, told: str) -> None:
        """And is repeated by the next process, which finds what was decided."""
        kitchen.lay_out("dbos step", "refunds.py")
        first = kitchen.start("python", "refunds.py", "812")
        (asked,) = desk.pending(1, first)
        first.kill()
        second = kitchen.start("python", "refunds.py", "812")
        desk.say(asked, said)
        assert second.wait() == 0
        assert second.output.text.endswith(told)
        assert len(desk.all()) == 1

    @pytest.mark.parametrize(("said", "told"), [("approve", "paid 812"), ("reject", "not paid 812")])
    def test_a_callback_resumes(self, desk: Desk, kitchen: Kitchen, said: Say, told: str) -> None:
        """Also a workflow whose process was dead when it came; a second start changes nothing."""
        kitchen.lay_out("dbos callback", "refunds.py")
        kitchen.be_called()
        first = kitchen.start("python", "refunds.py")
        until_it_answers(first, kitchen.more["PORT"])
        for _ in range(2):
            kitchen.post("/refunds/812")
        (asked,) = desk.pending(1, first)
        first.kill()
        desk.say(asked, said)
        second = kitchen.start("python", "refunds.py")
        assert told in second.output.wait_for(" 812\n", patience()).splitlines()
        assert len(desk.all()) == 1


class TestTemporal:
    @pytest.fixture(autouse=True)
    def temporal(self, kitchen: Kitchen) -> None:
        port = str(free_port())
        kitchen.more["TEMPORAL_ADDRESS"] = f"127.0.0.1:{port}"
        listening = ("--ip", "127.0.0.1", "--headless", "--log-level", "error")
        kitchen.start("temporal", "server", "start-dev", "--port", port, *listening).output.wait_for(
            "Server:", patience(60)
        )

    def test_an_activity_waits(self, desk: Desk, kitchen: Kitchen) -> None:
        """And is tried again by another worker when its own has died; decided meanwhile or afterwards."""
        kitchen.lay_out("temporal", "refunds.py", "start.sh")
        first = kitchen.start("python", "refunds.py")
        runs = [self.start(kitchen, order) for order in ("812", "813", "814")]
        asked = {request.title: request for request in desk.pending(3, first)}
        desk.say(asked["Refund order 812"], "approve")
        assert "paid 812" in result_of(runs[0])
        first.kill()
        desk.say(asked["Refund order 813"], NO)
        kitchen.start("python", "refunds.py")
        assert "Rejected by ann: not before Friday" in result_of(runs[1])
        desk.say(asked["Refund order 814"], "approve")
        assert "paid 814" in result_of(runs[2])
        assert len(desk.all()) == 3

    @staticmethod
    def start(kitchen: Kitchen, order: str) -> Process:
        program, *arguments = shlex.split((kitchen.folder / "start.sh").read_text().replace("812", order))
        return kitchen.start(program, *arguments)


class TestPrefect:
    @decisions
    def test_a_task_waits(self, desk: Desk, kitchen: Kitchen, said: Say, told: str) -> None:
        """A flow that is started again after its end finds what was decided."""
        port = str(free_port())
        kitchen.more["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
        kitchen.more["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
        server = kitchen.start("prefect", "server", "start", "--port", port, "--no-services", "--no-ui")
        until_it_answers(server, port)
        kitchen.lay_out("prefect", "refunds.py")
        first = kitchen.start("python", "refunds.py", "812")
        (asked,) = desk.pending(1, first)
        first.kill()
        desk.say(asked, said)
        assert result_of(kitchen.start("python", "refunds.py", "812")).endswith(told)
        assert len(desk.all()) == 1


class TestCelery:
    @pytest.fixture(autouse=True)
    def broker(self, kitchen: Kitchen) -> Iterator[None]:
        with RedisServer() as redis:
            kitchen.more["CELERY_BROKER_URL"] = redis.url
            yield

    @decisions
    def test_a_callback_starts_the_second_task(
        self, desk: Desk, kitchen: Kitchen, said: Say, told: str
    ) -> None:
        """Also when the worker that asked is dead."""
        kitchen.lay_out("celery", "refunds.py", "ask.sh")
        kitchen.be_called()
        web = kitchen.start("uvicorn", "refunds:web", "--port", kitchen.more["PORT"])
        until_it_answers(web, kitchen.more["PORT"])
        program, *arguments = shlex.split((kitchen.folder / "ask.sh").read_text())
        assert kitchen.start(program, *arguments).wait() == 0
        first = self.worker(kitchen)
        (asked,) = desk.pending(1, first)
        first.kill()
        desk.say(asked, said)
        who_says = self.worker(kitchen) if said is LESS else web
        assert told in who_says.output.wait_for(told, patience(60))
        assert len(desk.all()) == 1

    @staticmethod
    def worker(kitchen: Kitchen) -> Process:
        return kitchen.start("celery", "-A", "refunds", "worker", "--pool", "solo")


def result_of(run: Process) -> str:
    """What it printed until its end."""
    assert run.wait(patience(60)) == 0
    return run.output.text
