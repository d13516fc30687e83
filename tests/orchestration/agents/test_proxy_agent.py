"""An agent asks a person through the proxy, and gets words back."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from approvals.database.threads import in_database
from approvals.domain.lifecycle import DEFAULT_ANSWER
from orchestration.agents.proxy_agent import ProxyAgent, title_of
from orchestration.catalog import orchestration
from orchestration.runs.run import Run
from orchestration.runtime import Runtime
from tests import factories
from tests.orchestration.people import begin


@orchestration("tests_writer")
async def writer(run: Run, *, timeout: float | None = None) -> str:  # noqa: ASYNC109 - the person's
    proxy = ProxyAgent(run, agent="writer", assignees=["ben"], timeout=timeout)
    return await proxy.ask("Which tone?", details="It is for ACME.")


@pytest.fixture
async def ben(stack: object) -> User:
    return await in_database(factories.user, "ben")


@pytest.mark.one_stack
async def test_the_person_learns_who_asks(runtime: Runtime, ben: User) -> None:
    run = await begin(runtime, "tests_writer", ben)
    request = await run.answer("friendly", "Which tone?")
    assert request["details"] == "It is for ACME.\n\nAsked on behalf of the agent `writer`."
    assert request["assignees"]["users"] == ["ben"]
    assert (await run.finished())["result"] == "friendly"


@pytest.mark.one_stack
async def test_without_an_answer_the_agent_is_told_so(runtime: Runtime, ben: User) -> None:
    run = await begin(runtime, "tests_writer", ben, timeout=0.01)
    finished = await run.finished()
    assert (finished["status"], finished["result"]) == ("completed", DEFAULT_ANSWER)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Which tone?", "Which tone?"),
        ("Which\n  tone?\t", "Which tone?"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 199 + "…"),
        ("x" * 198 + " yz", "x" * 198 + "…"),
    ],
)
def test_a_title_is_one_line_of_the_length_that_fits(text: str, title: str) -> None:
    assert title_of(text) == title
