"""What people ask back about a run's request gets to its code once, and the reply to them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User

from approvals import deciding, queries
from approvals.database.threads import in_database
from approvals.domain.commands import Actor
from approvals.exceptions import InvalidRequest
from approvals.testing import decide, pending
from approvals.trail import verification
from orchestration import OrchestrationManager, Run, models, orchestration, start
from orchestration.runtime import Runtime
from orchestration.testing import approve, execute_runs, run_orchestration
from tests import factories
from tests.marks import both_databases, every_engine
from tests.orchestration.conftest import Processes
from tests.orchestration.watching import asked, finished, until_recorded

pytestmark = both_databases


async def ask_back(person: User, request_id: str, text: str) -> None:
    await deciding.acomment(factories.actor(person), request_id, text, question=True)


def said_by_programs(request_id: str) -> list[str | None]:
    said, _ = queries.comments_on(UUID(request_id), after=0, limit=100)
    return [comment.text for comment in said if comment.author is None]


async def until_considered(number: int) -> None:
    """Return once the run was given the question that is this entry of the trail."""
    considered = models.StepRecord.objects.filter(status="open", result__contains=f'"considered":{number}')
    await until_recorded(considered.exists)


@every_engine
async def test_a_question_is_replied_to_before_the_decision(runtime: Runtime, owner: User) -> None:
    heard: list[tuple[str, str | None]] = []

    @orchestration("replies_to_one")
    async def replies(run: Run) -> Any:
        async def on_question(text: str, who: str | None) -> str:
            heard.append((text, who))
            return f"{len(heard)} orders."

        outcome = await run.approve("Refund?", on_question=on_question)
        return [outcome.status, await run.ask("Why?", on_question=on_question)]

    run_id = await runtime.manager.astart("replies_to_one", owner=owner)
    request = (await asked(run_id, "Refund?"))["id"]
    await ask_back(owner, request, "How many?")
    await until_recorded(lambda: said_by_programs(request) == ["1 orders."])
    await deciding.acomment(factories.actor(owner), request, "I see.")
    await deciding.adecide(factories.actor(owner), request, "approve")
    why = (await asked(run_id, "Why?"))["id"]
    await ask_back(owner, why, "How many now?")
    await until_recorded(lambda: said_by_programs(why) == ["2 orders."])
    await deciding.aanswer(factories.actor(owner), why, "duplicate")
    assert (await finished(run_id))["result"] == ["approved", "duplicate"]
    assert heard == [("How many?", "olga"), ("How many now?", "olga")]
    assert await in_database(verification.verify_request, UUID(request)) == []


async def test_each_question_is_given_once_also_across_restarts(process: Processes, owner: User) -> None:
    """Those that got no reply, too; and none that has one on the trail, though the process died then."""
    heard: list[str] = []

    @orchestration("replies_replayed")
    async def replies(run: Run) -> str:
        async def on_question(text: str, who: str | None) -> str | None:
            heard.append(text)
            return None if text == "Are you sure?" else f"To {text}"

        return (await run.approve("Refund?", on_question=on_question)).status

    first, second = await process(), await process()
    run_id = await OrchestrationManager(first).astart("replies_replayed", owner=owner)
    request = (await asked(run_id, "Refund?"))["id"]
    await ask_back(owner, request, "One?")
    await until_recorded(lambda: said_by_programs(request) == ["To One?"])
    await ask_back(owner, request, "Are you sure?")
    await until_considered(4)
    await first.let_go()
    await ask_back(owner, request, "Two?")
    await deciding.acomment(Actor.program(), request, "To Two?", reply_to=5)  # before it could be considered
    await ask_back(owner, request, "Three?")
    await in_database(models.Run.objects.update, process=None)
    await second.execute([run_id])
    await until_recorded(lambda: said_by_programs(request) == ["To One?", "To Two?", "To Three?"])
    await deciding.adecide(factories.actor(owner), request, "approve")
    assert (await finished(run_id))["result"] == "approved"
    assert heard == ["One?", "Are you sure?", "Three?"]


async def test_a_request_that_is_kept_open_goes_on_where_it_was(runtime: Runtime, owner: User) -> None:
    heard: list[str] = []

    @orchestration("replies_kept")
    async def replies(run: Run) -> str:
        async def on_question(text: str, who: str | None) -> None:
            heard.append(text)

        kept = run.approve("Refund?", key="refund", keep_open=True, on_question=on_question)
        waiting = asyncio.create_task(kept)
        await run.ask("Go on?", key="go on")
        waiting.cancel()
        await asyncio.wait([waiting])
        return (await run.approve("Refund?", key="refund", on_question=on_question)).status

    run_id = await runtime.manager.astart("replies_kept", owner=owner)
    request = (await asked(run_id, "Refund?"))["id"]
    await ask_back(owner, request, "One?")
    await until_considered(2)
    await deciding.aanswer(factories.actor(owner), (await asked(run_id, "Go on?"))["id"], "yes")
    await ask_back(owner, request, "Two?")
    await until_considered(3)
    await deciding.adecide(factories.actor(owner), request, "approve")
    assert (await finished(run_id))["result"] == "approved"
    assert heard == ["One?", "Two?"]


@pytest.mark.parametrize("outcome", [RuntimeError("no"), SystemExit(1), StopIteration(), "", 7])
async def test_what_fails_is_logged_and_the_wait_goes_on(
    runtime: Runtime, owner: User, caplog: pytest.LogCaptureFixture, outcome: Any
) -> None:
    @orchestration("replies_badly")
    async def replies(run: Run) -> str:
        async def on_question(text: str, who: str | None) -> Any:
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome if text == "One?" else "Fine."

        return (await run.approve("Refund?", on_question=on_question)).status

    with caplog.at_level(logging.ERROR):
        run_id = await runtime.manager.astart("replies_badly", owner=owner)
        request = (await asked(run_id, "Refund?"))["id"]
        await ask_back(owner, request, "One?")
        await until_considered(2)
        await deciding.adecide(factories.actor(owner), request, "approve")
        assert (await finished(run_id))["result"] == "approved"
    assert f"on_question failed run={run_id} request={request}" in caplog.text
    assert await in_database(said_by_programs, request) == []


async def test_a_decision_ends_a_reply_that_is_under_way(runtime: Runtime, owner: User) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    @orchestration("replies_slowly")
    async def replies(run: Run) -> str:
        async def on_question(text: str, who: str | None) -> str:
            begun.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.set()
            return "never"

        return (await run.approve("Refund?", on_question=on_question)).status

    run_id = await runtime.manager.astart("replies_slowly", owner=owner)
    request = (await asked(run_id, "Refund?"))["id"]
    await ask_back(owner, request, "One?")
    await begun.wait()
    await deciding.adecide(factories.actor(owner), request, "approve")
    assert (await finished(run_id))["result"] == "approved"
    assert ended.is_set()
    assert await in_database(said_by_programs, request) == []


@pytest.mark.django_db
def test_a_question_has_one_reply() -> None:
    """Also by two processes, one of which was only frozen."""
    request_id = factories.approval()
    deciding.comment(factories.actor(factories.reviewer()), request_id, "One?", question=True)
    deciding.comment(factories.actor(factories.reviewer()), request_id, "Two?", question=True)
    for text in ("First.", "Second.", "First."):
        deciding.comment(Actor.program(), request_id, text, reply_to=2)
    deciding.comment(Actor.program(), request_id, "First.", reply_to=3)
    assert said_by_programs(request_id) == ["First.", "First."]
    assert queries.open_questions(UUID(request_id), 0) == ([], 5)


@pytest.mark.one_stack
@pytest.mark.parametrize("function", [str.upper, lambda text, who: text, "reply"])
def test_it_must_be_a_coroutine_function(function: Any) -> None:
    async def refund(run: Run) -> None:
        await run.approve("Refund?", on_question=function)

    run = run_orchestration(refund, people=[])
    assert isinstance(run.exception, InvalidRequest)
    assert run.exception.field == "on_question"


@pytest.mark.one_stack
def test_in_memory_nobody_asks_back() -> None:
    async def on_question(text: str, who: str | None) -> None:
        raise AssertionError("nobody asks")

    async def refund(run: Run) -> str:
        return (await run.approve("Refund?", on_question=on_question)).status

    assert run_orchestration(refund, people=[approve()]).result == "approved"


@pytest.mark.django_db
def test_runs_that_a_test_executes_reply_before_they_rest() -> None:
    @orchestration("replies_in_tests")
    async def replies(run: Run) -> str:
        async def on_question(text: str, who: str | None) -> str:
            return text.upper()

        return (await run.approve("Refund?", on_question=on_question)).status

    rita = factories.reviewer("rita")
    start("replies_in_tests", owner=rita)
    execute_runs()
    (request,) = pending()
    deciding.comment(factories.actor(rita), request.pk, "One?", question=True)
    execute_runs()
    assert said_by_programs(str(request.pk)) == ["ONE?"]
    execute_runs()
    decide(request, by=rita)
    (run,) = execute_runs()
    assert (run.status, run.result) == ("completed", "approved")
    assert said_by_programs(str(request.pk)) == ["ONE?"]
