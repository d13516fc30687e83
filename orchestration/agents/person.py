"""The agent `person`: ask a person a question, as a step of a plan."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from approvals.gate import OMITTED
from orchestration.agents.arguments import Arguments, check_with
from orchestration.agents.proxy_agent import ProxyAgent, people_named
from orchestration.catalog import agent
from orchestration.runs.run import Run


class Question(Arguments):
    """A question. `assignees` are names of users and groups; `timeout` in seconds."""

    details: str = ""
    choices: list[str] | dict[str, str] | None = None
    multiple: bool = False
    form: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    assignees: list[str] | None = None
    timeout: Annotated[float, Field(gt=0)] | None = None


@agent(
    "person", description="Asks a person a question; the action is the question, the answer is the result."
)
@check_with(Question)
async def person(run: Run, action: str, arguments: dict[str, Any]) -> str:
    """Ask the question and return the answer.

    Step: `{"agent": "person", "action": "Which shelf?", "arguments": {"choices": ["top", "bottom"]}}`
    """
    asked = Question.read(action, arguments)
    proxy = ProxyAgent(run, assignees=await people_named(run, asked.assignees, "arguments.assignees"))
    return await proxy.ask(
        action,
        details=asked.details,
        choices=asked.choices,
        multiple=asked.multiple,
        schema=asked.form,
        timeout=asked.timeout if "timeout" in asked.model_fields_set else OMITTED,
    )
