"""The recipes of docs/recipes.md, with the engines themselves; workers are killed while they wait."""

from __future__ import annotations

import pytest

from tests.adapters.desk import Desk, Say
from tests.adapters.recipes import Kitchen, kitchen
from tests.patience import patience

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
        kitchen.post(first, "/refunds/812")
        kitchen.post(first, "/refunds/812")
        (asked,) = desk.pending(1, first)
        first.kill()
        desk.say(asked, said)
        second = kitchen.start("python", "refunds.py")
        assert told in second.output.wait_for(" 812\n", patience()).splitlines()
        assert len(desk.all()) == 1
