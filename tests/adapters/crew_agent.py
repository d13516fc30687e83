"""Flows of CrewAI that pause for people, with a scripted model. As a program: crew_agent FOLDER."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from crewai import Agent
from crewai.flow import Flow, human_feedback, listen, or_, start
from crewai.flow.persistence import SQLiteFlowPersistence
from crewai.llms.base_llm import BaseLLM
from sayso_client import Sayso
from sayso_client.crewai import People, run_with_feedback

# It tells nobody of itself.
os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true"}


class Scripted(BaseLLM):
    """Proposes what it was told."""

    def call(self, messages: Any, *_: Any, **__: Any) -> str:
        task = messages[-1]["content"].partition("Current Task: ")[2].splitlines()[0]
        return f"Thought: I know.\nFinal Answer: Refund as told: {task}"


class Payments(Flow):
    """An agent proposes a refund until people approve it; then they are asked from where."""

    @start()
    def begin(self) -> str:
        return "5 EUR"

    @human_feedback(message="Pay it back?", emit=["approved", "rejected"], provider=People())
    @listen(or_(begin, "rejected"))
    def propose(self) -> dict[str, str]:
        said = self.last_human_feedback.feedback if self.last_human_feedback else "5 EUR"
        agent = Agent(role="clerk", goal="refund", backstory="", llm=Scripted(model="scripted"))
        return {"proposal": agent.kickoff(said).raw}

    @human_feedback(message="From which account?", emit=["eu", "us"], provider=People())
    @listen("approved")
    def ask(self) -> list[str]:
        print(f"approved: {self.last_human_feedback.output['proposal']}", flush=True)
        return ["eu", "us"]

    @listen(or_("eu", "us"))
    def pay(self, said: Any) -> str:
        print(f"paid from {said.outcome}", flush=True)
        return f"{said.outcome}: {said.feedback}"


def kept(folder: Path) -> SQLiteFlowPersistence:
    return SQLiteFlowPersistence(str(folder / "flows.sqlite3"))


def main(folder: str) -> None:
    with Sayso() as sayso:
        result = run_with_feedback(Payments, sayso, run="run-1", persistence=kept(Path(folder)))
    print(f"ended with {result}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
