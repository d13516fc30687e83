"""The testing kit of orchestrations: a run in this process, with people who reply as the test says."""

from __future__ import annotations

import asyncio
import inspect
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User

from approvals.database.threads import in_database
from approvals.exceptions import InvalidRequest
from orchestration import Rejected, Run, TimedOut, catalog, orchestration
from orchestration.exceptions import InvalidInput, UnknownOrchestration
from orchestration.models import RunStatus
from orchestration.runs import call_records
from orchestration.runtime import Runtime
from orchestration.testing import (
    AskedRequest,
    PeopleMismatch,
    Reply,
    answer,
    approve,
    arun_orchestration,
    nobody,
    reject,
    run_orchestration,
    withdraw,
)
from orchestration.testing.clock import Clock
from orchestration.testing.record import Book
from tests import factories
from tests.orchestration import people as played


def pay_back(order: int) -> dict[str, int]:
    return {"paid": order}


@orchestration("kit refund", four_eyes=True, deciders=["finance"])
async def refund(run: Run, *, order: int, note: str = "") -> Any:
    """Refund an order."""
    arguments = {"order": order}
    outcome = await run.approve(
        f"Refund {order}", arguments=arguments, severity="high", highlight=["order"], editable=True
    )
    reason = await run.ask("Why?", choices=["duplicate", "damaged"])
    await run.say("payments", f"Refunding because: {reason}")
    async with run.speaking("writer") as speak:
        await speak("one ")
        await speak("two")
    assert outcome.arguments is not None
    return await run.step("pay", pay_back, outcome.arguments["order"])


class TestWhatARunDid:
    def test_a_run_returns_its_result_requests_messages_and_steps(self) -> None:
        run = run_orchestration(
            refund, {"order": 812}, people=[approve("fine", by="rita"), answer("damaged")]
        )

        assert (run.status, run.result) == (RunStatus.COMPLETED, {"paid": 812})
        approval, question = run.requests
        assert (approval.kind, approval.title, approval.arguments) == (
            "approval",
            "Refund 812",
            {"order": 812},
        )
        assert (approval.severity, approval.highlight) == ("high", ["order"])
        assert approval.four_eyes
        assert approval.assignees == ["finance"]
        assert approval.outcome is not None
        assert (approval.outcome.approved, approval.outcome.comment) == (True, "fine")
        assert approval.outcome.decided_by == "rita"
        assert question.choices == ["duplicate", "damaged"]
        assert [(each.agent, each.text) for each in run.messages] == [
            ("payments", "Refunding because: damaged"),
            ("writer", "one two"),
        ]
        (step,) = run.steps
        assert (step.name, step.status, step.attempts, step.result) == ("pay", "done", 1, {"paid": 812})

    def test_an_orchestration_is_given_by_name_or_as_its_function_registered_or_not(self) -> None:
        async def unregistered(run: Run, *, order: int) -> int:
            return order

        people = [approve(), answer("damaged")]
        assert run_orchestration("kit refund", {"order": 812}, people=people).result == {"paid": 812}
        assert run_orchestration(unregistered, {"order": 1}).result == 1
        with pytest.raises(UnknownOrchestration, match="kit refnud"):
            run_orchestration("kit refnud", {})

    def test_approvers_may_edit_the_arguments_of_what_is_editable(self) -> None:
        run = run_orchestration(
            refund, {"order": 812}, people=[approve(arguments={"order": 7}), answer("damaged")]
        )

        assert run.result == {"paid": 7}

    def test_people_may_be_a_function_of_each_request(self) -> None:
        def reply(request: AskedRequest) -> Reply:
            return approve() if request.kind == "approval" else answer(request.choices[0])

        assert run_orchestration(refund, {"order": 812}, people=reply).result == {"paid": 812}

    @pytest.mark.parametrize(
        ("reply", "status", "reason"),
        [
            (reject("too much", by="rita"), RunStatus.REJECTED, "rejected"),
            (withdraw(), RunStatus.REJECTED, "withdrawn"),
            (nobody(), RunStatus.REJECTED, "timed_out"),
        ],
    )
    def test_a_run_ends_as_its_request_does(self, reply: Reply, status: RunStatus, reason: str) -> None:
        run = run_orchestration(refund, {"order": 812}, people=[reply])

        assert (run.status, run.reason) == (status, reason)
        assert isinstance(run.exception, Rejected)
        with pytest.raises(AssertionError, match=r"has no result: it is rejected\. Refund 812: "):
            _ = run.result

    def test_an_error_of_the_orchestration_is_the_cause_where_the_result_is_asked_for(self) -> None:
        async def broken(run: Run) -> None:
            raise LookupError("no such order")

        run = run_orchestration(broken)
        assert (run.status, run.error) == (RunStatus.FAILED, "LookupError: no such order")
        with pytest.raises(AssertionError, match="no such order") as raised:
            _ = run.result
        assert isinstance(raised.value.__cause__, LookupError)

    def test_input_is_checked_as_for_every_start(self) -> None:
        with pytest.raises(InvalidInput, match=r"order: is required. Known fields: order \(int\)"):
            run_orchestration(refund, {})

    def test_terms_are_checked_as_for_every_request(self) -> None:
        async def two_lines(run: Run) -> None:
            await run.approve("one\ntwo")

        assert isinstance(run_orchestration(two_lines).exception, InvalidRequest)

    async def test_coroutines_await_it(self) -> None:
        run = await arun_orchestration(refund, {"order": 812}, people=[approve(), answer("damaged")])
        assert run.result == {"paid": 812}
        with pytest.raises(RuntimeError, match="async"):
            run_orchestration(refund, {"order": 812})


class TestTime:
    def test_deadlines_sleeps_and_pauses_before_retries_take_no_time(self) -> None:
        failures = iter([OSError("away"), OSError("away")])

        def flaky() -> str:
            if error := next(failures, None):
                raise error
            return "done"

        async def patient(run: Run) -> Any:
            await run.sleep(timedelta(days=3))
            await run.sleep_until(datetime.now(UTC) + timedelta(days=7))
            tone = await run.ask("Which tone?", timeout=3600, default="formal")
            with pytest.raises(TimedOut):
                await run.ask("Which colour?", choices=["red"], timeout=60)
            return [tone, await run.step("flaky", flaky, retries=2)]

        run = run_orchestration(patient, people=[nobody(), nobody()])

        assert run.result == ["formal", "done"]
        assert timedelta(days=7, seconds=3600) < run.took < timedelta(days=7, seconds=3700)
        assert run.steps[0].attempts == 3
        asked = run.requests[0]
        assert asked.outcome is not None
        assert asked.outcome.decided_at == asked.deadline

    def test_things_come_in_the_order_in_which_they_would_come(self) -> None:
        """A reminder, as documented: whoever replies within a day is not reminded."""

        async def reminding(run: Run) -> list[Any]:
            asking = asyncio.create_task(run.ask("Well?", key="ask", timeout=None))
            sleeping = asyncio.create_task(run.sleep(24 * 3600, key="a day"))
            done, _ = await asyncio.wait([asking, sleeping], return_when=asyncio.FIRST_COMPLETED)
            reminded = sleeping in done
            sleeping.cancel()
            return [reminded, await asking]

        at_once = run_orchestration(reminding, people=[answer("yes")])
        assert (at_once.result, at_once.took) == ([False, "yes"], timedelta(0))
        late = run_orchestration(reminding, people=[answer("yes", after=3 * 24 * 3600)])
        assert (late.result, late.took) == ([True, "yes"], timedelta(days=3))

    @pytest.mark.parametrize("after", [299, 300, 301])
    def test_a_reply_at_the_deadline_or_later_is_too_late(self, after: float) -> None:
        run = run_orchestration(refund, {"order": 1}, people=[reject("No.", after=after)])
        assert run.reason == ("rejected" if after < 300 else "timed_out")
        assert run.took == timedelta(seconds=min(after, 300))

    def test_a_step_that_executes_comes_before_a_sleep(self) -> None:
        async def racing(run: Run) -> list[str]:
            order = []

            async def stepping() -> None:
                order.append(await run.step("slow", slow, key="slow"))

            async def sleeping() -> None:
                await run.sleep(1, key="sleep")
                order.append("slept")

            await asyncio.gather(sleeping(), stepping())
            return order

        def slow() -> str:
            threading.Event().wait(0.05)
            return "performed"

        assert run_orchestration(racing).result == ["performed", "slept"]

    def test_a_step_may_sleep_and_ask_itself(self) -> None:
        async def nesting(run: Run) -> Any:
            async def outer() -> Any:
                await run.sleep(3600, key="within")
                return await run.ask("Well?", key="asked within")

            return await run.step("outer", outer)

        assert run_orchestration(nesting, people=[answer("yes", after=60)]).result == "yes"

    def test_a_request_that_is_kept_open_keeps_its_reply(self) -> None:
        async def patient(run: Run) -> Any:
            asking = asyncio.create_task(run.ask("Well?", key="ask", timeout=None, keep_open=True))
            await run.sleep(60, key="a minute")
            asking.cancel()
            await asyncio.wait([asking])
            return await run.ask("Well?", key="ask", timeout=None, keep_open=True)

        run = run_orchestration(patient, people=[answer("yes", after=600)])
        assert (run.result, run.took, len(run.requests)) == ("yes", timedelta(seconds=600), 1)

    def test_what_a_run_leaves_open_is_withdrawn(self) -> None:
        async def leaving(run: Run) -> None:
            asking = asyncio.create_task(run.ask("Well?", key="ask", keep_open=True))
            await run.sleep(1, key="a second")
            asking.cancel()

        run = run_orchestration(leaving, people=[answer("yes", after=100)])
        (request,) = run.requests
        assert request.outcome is not None
        assert (request.outcome.withdrawn, run.status) == (True, "completed")


class TestSteps:
    def test_synchronous_steps_run_on_the_thread_of_the_test(self) -> None:
        async def stepping(run: Run) -> Any:
            return await run.step("where", lambda: threading.current_thread() is threading.main_thread())

        assert run_orchestration(stepping).result is True

    @pytest.mark.one_stack
    @pytest.mark.django_db
    def test_steps_share_the_tests_connection_to_the_database(self) -> None:
        from django.db import transaction

        async def counting(run: Run) -> Any:
            return await run.step("count", User.objects.count) + await User.objects.acount()

        with transaction.atomic():
            factories.user()
            assert run_orchestration(counting).result == 2
            transaction.set_rollback(True)

    def test_calls_at_once_take_replies_in_the_order_in_which_they_began(self) -> None:
        async def both(run: Run) -> Any:
            return await asyncio.gather(run.ask("First?", key="first"), run.ask("Second?", key="second"))

        assert run_orchestration(both, people=[answer("1"), answer("2")]).result == ["1", "2"]


class TestPeople:
    def test_too_few_replies_name_the_request_that_nobody_replies_to(self) -> None:
        with pytest.raises(PeopleMismatch) as raised:
            run_orchestration(refund, {"order": 812}, people=[approve()])
        assert str(raised.value) == (
            "people: too few replies. The run asked 2 times ('Refund 812', 'Why?'), and people has 1 reply:"
            " nobody replies to the clarification 'Why?'. Add answer(...), withdraw() or nobody()."
        )

    def test_too_many_replies_are_named(self) -> None:
        with pytest.raises(PeopleMismatch) as raised:
            run_orchestration(refund, {"order": 812}, people=[reject(), answer("damaged")])
        assert str(raised.value) == (
            "people: too many replies. The run asked 1 time ('Refund 812'), so nothing was left to reply to"
            " for answer('damaged')."
        )

    def test_a_run_that_failed_before_it_asked_says_why(self) -> None:
        async def pay(run: Run) -> None:
            await run.approve("Pay", arguments={"amount": Decimal("12.40")})

        with pytest.raises(PeopleMismatch, match=r"too many replies.* The run failed: .*amount is Decimal"):
            run_orchestration(pay, people=[approve()])

    @pytest.mark.parametrize(
        ("people", "text"),
        [
            (
                [answer("x")],
                r"people\[0\]: answer\('x'\) is no reply to the approval 'Refund 812'. Use approve",
            ),
            ([approve(), approve()], r"people\[1\]: approve\(\) is no reply to the clarification 'Why\?'"),
            (
                [approve(), answer("blue")],
                r"people\[1\]: answer\('blue'\) is no .*: answer must be one",
            ),
            (lambda request: None, r"people\(\): None is no reply"),
        ],
    )
    def test_replies_must_fit_what_was_asked(self, people: Any, text: str) -> None:
        with pytest.raises(PeopleMismatch, match=text):
            run_orchestration(refund, {"order": 812}, people=people)

    @pytest.mark.parametrize("reply", [approve, reject])
    def test_who_decides_where_a_reason_is_needed_gives_one(self, reply: Any) -> None:
        async def delete(run: Run) -> str:
            return (await run.approve("Delete", reason_required=True)).comment

        for comment in ("", " "):
            with pytest.raises(PeopleMismatch, match=r"no reply to .*: comment must say why"):
                run_orchestration(delete, people=[reply(comment)])
        run = run_orchestration(delete, people=[reply("It is empty.")])
        assert [each.outcome and each.outcome.comment for each in run.requests] == ["It is empty."]

    def test_what_is_no_reply_is_refused_at_once(self) -> None:
        with pytest.raises(TypeError, match=r"people\[0\]: approve\(\), .*, not 'approve'"):
            run_orchestration(refund, {"order": 812}, people=["approve"])  # type: ignore[list-item]  # the point

    def test_nobody_does_not_fit_a_request_without_a_deadline(self) -> None:
        async def for_ever(run: Run) -> None:
            await run.ask("Well?", timeout=None)

        with pytest.raises(PeopleMismatch, match="has no deadline"):
            run_orchestration(for_ever, people=[nobody()])

    def test_code_that_catches_everything_does_not_hide_that_replies_are_missing(self) -> None:
        async def stubborn(run: Run) -> str:
            try:
                await run.ask("Well?")
            except BaseException:  # the point
                return "caught"
            return "answered"

        with pytest.raises(PeopleMismatch, match="too few replies"):
            run_orchestration(stubborn)


class TestLikeARealRun:
    def test_the_book_takes_every_write_of_a_run(self) -> None:
        """A new write of `call_records` must be taken by the record in memory, too."""
        writes = {
            function
            for _, function in inspect.getmembers(call_records, inspect.isfunction)
            if function.__module__ == call_records.__name__
            and next(iter(inspect.signature(function).parameters)) == "owned"
            and not function.__name__.startswith("_")
        }
        assert Book(Clock())._writes.keys() == writes

    @pytest.mark.one_stack
    async def test_it_does_what_a_run_on_record_does(self, runtime: Runtime, owner: User) -> None:
        @orchestration("kit twin")
        async def twin(run: Run, *, order: int) -> Any:
            await run.show_plan([{"title": "Refund", "agent": "payments", "action": "refund"}])
            outcome = await run.approve("Refund", arguments={"order": order})
            await run.mark_step(0, "completed")
            reason = await run.ask("Why?")
            await run.say("payments", reason)
            return [outcome.arguments, await run.step("pay", pay_back, order)]

        try:
            kit = await arun_orchestration(twin, {"order": 1}, people=[approve(), answer("damaged")])
            real = await played.begin(runtime, "kit twin", owner, order=1)
            await real.approve("Refund")
            await real.answer("damaged", "Why?")
            run = await real.finished()
        finally:
            catalog.registry._orchestrations.pop(("kit twin", 1))

        assert kit.result == run["result"]
        assert [(step["title"], step["state"]) for step in kit.plan] == [("Refund", "completed")]
        row = await in_database(_row, real.run_id)
        assert [each.key for each in kit.steps] == [key for key, kind in row if kind == "step"]


def _row(run_id: Any) -> list[tuple[str, str]]:
    from orchestration.models import StepRecord

    return list(StepRecord.objects.filter(run_id=run_id).values_list("key", "kind"))
