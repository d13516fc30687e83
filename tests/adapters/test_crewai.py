"""Flows of CrewAI, which pause for people."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from crewai.flow import Flow, human_feedback, listen, start
from sayso_client import TimedOut
from sayso_client.crewai import People, run_with_feedback

from tests.adapters.crew_agent import Payments, kept
from tests.adapters.desk import Desk, Say
from tests.adapters.examples import run_example

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.processes,
    pytest.mark.one_stack,
    pytest.mark.usefixtures("shared_server"),
    pytest.mark.filterwarnings("ignore"),  # CrewAI warns of what it does itself
]


def run(desk: Desk, flow: Any, *said: Say, folder: Path, name: str = "run-1", **options: Any) -> Any:
    """Run it in a thread of its own, while Ann decides, pause by pause."""
    with desk.asking() as sayso, ThreadPoolExecutor(1) as thread:
        ends = thread.submit(run_with_feedback, flow, sayso, run=name, persistence=kept(folder), **options)
        for one in said:
            desk.decide(one)
        return ends.result()


def test_a_flow_goes_on_with_what_people_decide(desk: Desk, tmp_path: Path) -> None:
    """A rejection's reason reaches the agent, whose next proposal is asked anew; no model reads decisions."""
    said = [("reject", "approved would be 4 EUR"), "approve", ("answer", "us")]
    assert run(desk, Payments, *said, folder=tmp_path) == "us: us"
    first, second, account = desk.all()
    assert first.title == "Pay it back?"
    assert first.raw["arguments"] == {"proposal": "Refund as told: 5 EUR"}
    assert second.raw["arguments"] == {"proposal": "Refund as told: approved would be 4 EUR"}
    assert account.raw["choices"] == ["eu", "us"]
    assert first.raw["origin"] == {"kind": "crewai", "id": "run-1"}


def test_an_equal_pause_is_asked_anew(desk: Desk, tmp_path: Path) -> None:
    """In the same flow, and in another one."""
    said: list[Say] = [("reject", "5 EUR"), ("reject", "5 EUR"), "approve", ("answer", "eu")]
    run(desk, Payments, *said, folder=tmp_path)
    run(desk, Payments, "approve", ("answer", "us"), folder=tmp_path, name="run-2")
    assert [request.status for request in desk.all()] == ["rejected"] * 2 + ["approved", "answered"] * 2


class Decided(Flow):
    """Ends with what it has heard."""

    @start()
    @human_feedback(message="Ship it?", emit=["approved", "rejected"], provider=People())
    def begin(self) -> str:
        return "# 2.4"

    @listen("approved")
    def ship(self, said: Any) -> str:
        return f"shipped: {said.feedback}"

    @listen("rejected")
    def stop(self, said: Any) -> str:
        return f"stopped: {said.feedback}"


def test_silence_rejects(desk: Desk, tmp_path: Path) -> None:
    """And blank words do; what the program chooses is approved unasked."""
    assert run(desk, Decided, folder=tmp_path, timeout=0.01) == "stopped: Nobody decided in time."
    assert run(desk, Decided, ("reject", " "), folder=tmp_path, name="run-2").startswith("stopped: Rejected")
    asked = run(desk, Decided, folder=tmp_path, name="run-3", when=lambda name, arguments: name != "begin")
    assert asked == "shipped: Approved."


def asking(**terms: Any) -> type[Flow]:
    class Asks(Flow):
        @start()
        @human_feedback(message="Which region?", provider=People(), **terms)
        def begin(self) -> str:
            return "# Regions"

        @listen(begin if not terms else "us")
        def end(self, said: Any) -> str:
            return f"{said.outcome}: {said.feedback}"

    return Asks


def test_people_write_a_text_where_there_are_no_outcomes(desk: Desk, tmp_path: Path) -> None:
    assert run(desk, asking(), ("answer", "eu, please"), folder=tmp_path) == "None: eu, please"
    assert desk.all()[0].raw["details"] == "# Regions"


def test_silence_is_the_default_or_leaves_the_flow_where_it_is(desk: Desk, tmp_path: Path) -> None:
    flow = asking(emit=["eu", "us"], default_outcome="us")
    assert run(desk, flow, folder=tmp_path, timeout=0.01) == "us: us"
    for _ in range(2):
        with pytest.raises(TimedOut):
            run(desk, asking(emit=["eu", "us"]), folder=tmp_path, name="run-2", timeout=0.01)
    assert len(desk.all()) == 2


def test_a_flow_that_is_killed_is_taken_up(desk: Desk, tmp_path: Path) -> None:
    """Decided before the restart, and after it; nobody is asked twice, nothing runs twice."""
    with desk.start("crew_agent", tmp_path) as first:
        (proposal,) = desk.pending(1, first)
        first.kill()
    desk.say(proposal, "approve")
    with desk.start("crew_agent", tmp_path) as second:
        (account,) = desk.pending(1, second)
        second.kill()
    with desk.start("crew_agent", tmp_path) as third:
        desk.say(account, ("answer", "us"))
        assert third.wait() == 0, third.output.text
    assert "approved: Refund as told: 5 EUR" in second.output.text
    assert "approved:" not in third.output.text
    assert "paid from us" in third.output.text
    assert "ended with us: us" in third.output.text
    assert len(desk.all()) == 2


def test_the_example_of_the_documentation_runs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    desk.be_set_up(monkeypatch)
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(run_example, "CrewAI")
        desk.decide("approve")
        assert running.result()["result"] == "paid back 812"
