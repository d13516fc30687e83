"""Waiting by id: what a dictionary and a polling loop did, on record and without polling."""

from __future__ import annotations

import asyncio
import logging
import operator
from collections.abc import Callable, MutableMapping, Sequence
from datetime import timedelta
from threading import Event, Thread
from typing import Any, NoReturn

import pytest
from django.db import OperationalError, transaction
from hypothesis import given
from hypothesis import strategies as st

from approvals import deciding, queries
from approvals.database.threads import in_database
from approvals.domain.commands import Actor, Command, OpenRequest, Result
from approvals.domain.lifecycle import DEFAULT_ANSWER
from approvals.exceptions import (
    AlreadyDecided,
    InvalidAnswer,
    InvalidRequest,
    StillPending,
    TooLate,
    Unavailable,
)
from approvals.models import AuditEntry, HumanRequest
from approvals.waiting.waiting_room import waiting_room
from approvals.writer import execution
from orchestration.events import OrchestrationConfig
from tests import factories as make
from tests.conftest import Manage
from tests.effort import SHARED_FIXTURES, effort
from tests.looking import until

pytestmark = pytest.mark.django_db

DICTIONARY_DEEDS: dict[str, Callable[[MutableMapping[str, bool | None], str], object]] = {
    "delete": operator.delitem,
    "pop": lambda mapping, key: mapping.pop(key),
    "pop or": lambda mapping, key: mapping.pop(key, False),
    "clear": lambda mapping, _: type(mapping).clear(mapping),
    "in": operator.contains,
}
DEEDS = st.sampled_from(["ask", "approve", "reject", *DICTIONARY_DEEDS])
KEYS = st.sampled_from("abc")


@pytest.fixture
def config() -> OrchestrationConfig:
    return OrchestrationConfig()


def row(key: str) -> HumanRequest:
    found: HumanRequest = HumanRequest.objects.filter(key=key).latest("round")
    return found


def events(key: str) -> list[str]:
    entries = AuditEntry.objects.filter(request=row(key)).order_by("sequence")
    return list(entries.values_list("event", flat=True))


def in_thread(function: Callable[[], None]) -> None:
    thread = Thread(target=function)
    thread.start()
    thread.join()


async def registered(number: int) -> None:
    """Until so many wait; each turn of the loop brings them further."""
    await until(lambda: len(waiting_room()) >= number)


def unreachable(commands: Sequence[Command]) -> NoReturn:
    """What the writer meets when the database is away."""
    raise OperationalError("no route to the database")


LAST_WORDS = """
import asyncio
from orchestration.events import orchestration_config

async def main():
    orchestration_config.set_clarification_pending("q")
    orchestration_config.set_clarification_result("q", "4711")

asyncio.run(main())
"""


class TestSynchronousCode:
    def test_a_setter_returns_when_it_is_on_record(self, config: OrchestrationConfig) -> None:
        config.set_approval_pending("plan-1")
        assert (row("plan-1").status, config.approvals["plan-1"]) == ("pending", None)
        config.set_approval_result("plan-1", approved=True)
        assert (row("plan-1").status, config.approvals["plan-1"]) == ("approved", True)

    def test_the_deadline_is_now_and_the_default_timeout(self, config: OrchestrationConfig) -> None:
        config.default_timeout = 42.0
        config.set_approval_pending("plan-1")
        asked = row("plan-1")
        assert asked.deadline is not None
        assert asked.deadline - asked.opened_at == timedelta(seconds=42)

    def test_a_closed_id_opens_a_new_round(self, config: OrchestrationConfig) -> None:
        config.set_approval_pending("plan-1")
        config.set_approval_result("plan-1", approved=False)
        config.set_approval_pending("plan-1")
        assert (row("plan-1").round, config.approvals["plan-1"]) == (2, None)

    def test_asking_twice_asks_once(self, config: OrchestrationConfig) -> None:
        config.set_clarification_pending("q")
        config.set_clarification_pending("q")
        assert HumanRequest.objects.count() == 1

    def test_a_second_result_is_logged_and_left_on_the_trail(
        self, config: OrchestrationConfig, caplog: pytest.LogCaptureFixture
    ) -> None:
        config.set_approval_result("plan-1", approved=True)
        with caplog.at_level(logging.WARNING):
            config.set_approval_result("plan-1", approved=False)
        assert config.approvals["plan-1"] is True
        assert "already_decided" in caplog.text
        assert events("plan-1") == ["opened", "decided", "refused"]

    def test_both_kinds_may_share_an_id(self, config: OrchestrationConfig) -> None:
        config.set_approval_pending("1")
        config.set_clarification_pending("1")
        assert (config.approvals["1"], config.clarifications["1"]) == (None, None)

    @pytest.mark.parametrize("plan_id", ["", "x" * 201, "a\0b"])
    def test_an_impossible_id_is_refused_by_name(self, config: OrchestrationConfig, plan_id: str) -> None:
        with pytest.raises(InvalidRequest) as refused:
            config.set_approval_pending(plan_id)
        assert refused.value.field == "plan_id"

    def test_inside_a_transaction_it_is_refused(self, config: OrchestrationConfig) -> None:
        """The writer has a transaction of its own, and would wait for this one."""
        with transaction.atomic(), pytest.raises(RuntimeError, match="atomic"):
            config.set_approval_pending("plan-1")

    def test_an_outcome_tells_a_typed_answer_from_a_timeout(self, config: OrchestrationConfig) -> None:
        config.set_clarification_result("typed", DEFAULT_ANSWER)
        config.default_timeout = timedelta(milliseconds=1)
        config.set_clarification_pending("late")
        asyncio.run(config.wait_for_clarification("late"))
        assert config.clarifications["typed"] == config.clarifications["late"] == DEFAULT_ANSWER
        outcomes = [config.outcome(key) for key in ("typed", "late")]
        assert [(one.status, one.timed_out) for one in outcomes] == [("answered", False), ("timed_out", True)]

    def test_an_outcome_is_a_clarifications_or_else_a_plans(self, config: OrchestrationConfig) -> None:
        config.set_approval_result("1", approved=True)
        assert (config.outcome("1").kind, config.outcome("1").approved) == ("approval", True)
        config.set_clarification_pending("1")
        assert (config.outcome("1").kind, config.outcome("1").status) == ("clarification", "pending")
        with pytest.raises(KeyError, match="other"):
            config.outcome("other")

    def test_a_deadline_is_ahead(self, config: OrchestrationConfig) -> None:
        config.default_timeout = 0
        with pytest.raises(InvalidRequest, match=r"^default_timeout must be above 0"):
            config.set_approval_pending("plan-1")

    def test_an_answer_is_text(self, config: OrchestrationConfig) -> None:
        with pytest.raises(InvalidAnswer):
            config.set_clarification_result("q", 5)  # type: ignore[arg-type]  # that is the point

    def test_an_approval_is_true_or_false(self, config: OrchestrationConfig) -> None:
        """The text "no" is true, too."""
        with pytest.raises(InvalidAnswer) as refused:
            config.approvals["plan-1"] = "no"  # type: ignore[assignment]  # that is the point
        assert refused.value.field == "approved"
        assert not HumanRequest.objects.exists()


class TestDictionaries:
    """Code that keeps a dictionary goes on doing so."""

    def test_assigning_none_asks_and_a_value_decides(self, config: OrchestrationConfig) -> None:
        config.approvals["plan-1"] = None
        assert (row("plan-1").status, config.approvals["plan-1"]) == ("pending", None)
        config.approvals["plan-1"] = True
        assert (row("plan-1").status, config.approvals["plan-1"]) == ("approved", True)
        config.clarifications["q"] = ""
        assert (row("q").status, config.clarifications) == ("answered", {"q": ""})

    def test_deleting_hides_the_id_until_it_is_set_again_and_leaves_the_record(
        self, config: OrchestrationConfig
    ) -> None:
        config.approvals["plan-1"] = False
        del config.approvals["plan-1"]
        assert "plan-1" not in config.approvals
        assert (len(config.approvals), list(config.approvals), dict(config.approvals)) == (0, [], {})
        with pytest.raises(KeyError):
            del config.approvals["plan-1"]
        assert row("plan-1").status == "rejected"
        assert OrchestrationConfig().approvals == {"plan-1": False}
        config.set_approval_pending("plan-1")
        assert config.approvals == {"plan-1": None}

    def test_what_another_process_asks_anew_is_there_again(self, config: OrchestrationConfig) -> None:
        config.clarifications["q"] = "4711"
        del config.clarifications["q"]
        OrchestrationConfig().clarifications["q"] = None
        assert config.clarifications == {"q": None}

    def test_a_first_result_stands_as_ever(self, config: OrchestrationConfig) -> None:
        config.approvals["plan-1"] = True
        del config.approvals["plan-1"]
        config.approvals["plan-1"] = False
        assert config.approvals == {"plan-1": True}

    async def test_a_wait_finds_what_was_deleted(self, config: OrchestrationConfig) -> None:
        config.approvals["plan-1"] = None
        del config.approvals["plan-1"]
        waiting = asyncio.create_task(config.wait_for_approval("plan-1"))
        await registered(1)
        config.approvals["plan-1"] = True
        assert await waiting

    async def test_what_was_just_handed_over_counts(self, config: OrchestrationConfig) -> None:
        config.clarifications.update({"a": None, "b": "4711"})
        assert len(config.clarifications) == 2
        assert config.clarifications.setdefault("a", "later") is None
        assert config.clarifications.pop("b") == "4711"
        assert list(config.clarifications) == ["a"]

    def test_all_of_it_is_read_at_once(
        self, config: OrchestrationConfig, django_assert_max_num_queries: Any
    ) -> None:
        config.approvals.update({f"plan-{number}": bool(number % 2) for number in range(20)})
        assert len(config.approvals.values()) == 20  # PostgreSQL prepares a statement the first time
        with django_assert_max_num_queries(2):
            assert sum(value is True for value in config.approvals.values()) == 10

    @pytest.mark.one_stack
    @given(deeds=st.lists(st.tuples(DEEDS, KEYS), max_size=12))
    @effort(30, allowed=(SHARED_FIXTURES,))
    def test_whatever_is_done_it_does_as_a_dictionary(self, deeds: list[tuple[str, str]]) -> None:
        """But for a second result, which changes nothing until the id is asked again."""
        approvals: MutableMapping[str, bool | None] = OrchestrationConfig().approvals
        approvals.clear()
        model: dict[str, bool | None] = {}
        on_record = {key: _recorded(key) for key in "abc"}
        for deed, key in deeds:
            if deed in {"ask", "approve", "reject"}:
                value = {"ask": None, "approve": True, "reject": False}[deed]
                approvals[key] = value
                if value is None or on_record[key] is None:
                    on_record[key] = value
                model[key] = on_record[key]
            else:
                assert _outcome(deed, approvals, key) == _outcome(deed, model, key)
        assert approvals == model
        assert set(approvals) == set(model)
        assert (len(approvals), repr(sorted(approvals.items()))) == (len(model), repr(sorted(model.items())))


def _recorded(key: str) -> bool | None:
    return OrchestrationConfig().approvals.get(key)


def _outcome(deed: str, mapping: MutableMapping[str, bool | None], key: str) -> object:
    """What this returns, or the key that it misses."""
    try:
        return DICTIONARY_DEEDS[deed](mapping, key)
    except KeyError as missing:
        return missing.args


class TestWaiting:
    async def test_a_result_wakes_every_waiter(self, config: OrchestrationConfig) -> None:
        config.set_approval_pending("plan-1")
        waits = [asyncio.create_task(config.wait_for_approval("plan-1")) for _ in range(3)]
        await registered(3)
        config.set_approval_result("plan-1", approved=True)
        assert await asyncio.gather(*waits) == [True, True, True]
        assert len(waiting_room()) == 0

    async def test_everyone_who_waits_before_it_is_on_record_finds_it(
        self, config: OrchestrationConfig
    ) -> None:
        config.set_approval_pending("plan-1")
        waits = [config.wait_for_approval("plan-1", timeout=0.1) for _ in range(5)]
        assert await asyncio.gather(*waits) == [False] * 5
        assert len(waiting_room()) == 0

    async def test_a_result_set_before_the_wait_returns_at_once(self, config: OrchestrationConfig) -> None:
        config.set_clarification_pending("q")
        config.set_clarification_result("q", "4711")
        assert await config.wait_for_clarification("q") == "4711"

    async def test_an_empty_answer_is_an_answer(self, config: OrchestrationConfig) -> None:
        config.set_clarification_result("q", "")
        assert await config.wait_for_clarification("q") == ""

    async def test_a_person_decides_as_well(self, config: OrchestrationConfig) -> None:
        rita = await in_database(make.reviewer)
        config.set_approval_pending("plan-1")
        waiting = asyncio.create_task(config.wait_for_approval("plan-1"))
        await registered(1)
        request_id = (await in_database(row, "plan-1")).pk
        await deciding.adecide(make.actor(rita), request_id, "approve")
        assert await waiting

    async def test_an_approval_that_times_out_is_no(self, config: OrchestrationConfig) -> None:
        config.set_approval_pending("plan-1")
        assert await config.wait_for_approval("plan-1", timeout=0.05) is False
        assert (await in_database(row, "plan-1")).status == "timed_out"
        assert len(waiting_room()) == 0

    async def test_a_clarification_that_times_out_is_the_default_text(
        self, config: OrchestrationConfig
    ) -> None:
        config.set_clarification_pending("q")
        assert await config.wait_for_clarification("q", timeout=0.05) == DEFAULT_ANSWER
        assert (await in_database(row, "q")).status == "timed_out"

    async def test_a_cancelled_wait_is_deregistered_and_the_row_stays_pending(
        self, config: OrchestrationConfig
    ) -> None:
        config.set_approval_pending("plan-1")
        waiting = asyncio.create_task(config.wait_for_approval("plan-1"))
        await registered(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert len(waiting_room()) == 0
        assert (await in_database(row, "plan-1")).status == "pending"


class TestTimeouts:
    async def test_the_first_that_names_one_replaces_the_deadline_and_later_ones_join(
        self, config: OrchestrationConfig
    ) -> None:
        config.set_approval_pending("plan-1")
        first = asyncio.create_task(config.wait_for_approval("plan-1", timeout=100))
        await registered(1)
        second = asyncio.create_task(config.wait_for_approval("plan-1", timeout=5_000))
        await registered(2)
        asked = await in_database(row, "plan-1")
        assert asked.deadline is not None
        assert timedelta(seconds=100) <= asked.deadline - asked.opened_at < timedelta(seconds=1_000)
        assert await in_database(events, "plan-1") == ["opened", "rescheduled"]
        config.set_approval_result("plan-1", approved=True)
        assert await first
        assert await second

    async def test_a_later_shorter_one_is_that_calls_patience(self, config: OrchestrationConfig) -> None:
        """The request stays open, and the first goes on waiting."""
        config.set_clarification_pending("q")
        first = asyncio.create_task(config.wait_for_clarification("q", timeout=100))
        await registered(1)
        with pytest.raises(StillPending):
            await config.wait_for_clarification("q", timeout=0.05)
        with pytest.raises(StillPending):
            await config.wait_for_clarification("q", timeout=0)
        assert len(waiting_room()) == 1
        assert await in_database(events, "q") == ["opened", "rescheduled"]
        config.set_clarification_result("q", "4711")
        assert await first == "4711"

    async def test_a_later_one_that_the_deadline_comes_before_joins(
        self, config: OrchestrationConfig
    ) -> None:
        config.set_approval_pending("plan-1")
        first = asyncio.create_task(config.wait_for_approval("plan-1", timeout=0.3))
        await registered(1)
        assert await config.wait_for_approval("plan-1", timeout=0.3) is False
        assert await first is False

    @pytest.mark.one_stack
    @pytest.mark.parametrize("given", [-1, float("nan")])
    async def test_an_impossible_one_is_refused(self, config: OrchestrationConfig, given: float) -> None:
        config.set_approval_pending("plan-1")
        with pytest.raises(InvalidRequest) as refused:
            await config.wait_for_approval("plan-1", timeout=given)
        assert refused.value.field == "timeout"

    async def test_a_result_after_the_deadline_is_too_late(self, config: OrchestrationConfig) -> None:
        config.set_approval_pending("plan-1")
        await config.wait_for_approval("plan-1", timeout=0)
        with pytest.raises(TooLate):
            await config.aset_approval_result("plan-1", approved=True)


class TestErrors:
    @pytest.mark.parametrize("kind", ["approval", "clarification"])
    async def test_an_unknown_id_is_a_key_error_that_names_it(
        self, config: OrchestrationConfig, kind: str
    ) -> None:
        for unknown in ("nowhere", "no\0where"):
            with pytest.raises(KeyError) as missing:
                await getattr(config, f"wait_for_{kind}")(unknown)
            assert missing.value.args == (unknown,)

    async def test_a_second_result_raises_where_it_is_awaited(self, config: OrchestrationConfig) -> None:
        await config.aset_approval_pending("plan-1")
        await config.aset_approval_result("plan-1", approved=True)
        with pytest.raises(AlreadyDecided) as refused:
            await config.aset_approval_result("plan-1", approved=False)
        assert refused.value.outcome is not None
        assert refused.value.outcome.approved

    async def test_a_withdrawn_question_has_no_answer(self, config: OrchestrationConfig) -> None:
        await config.aset_clarification_pending("q")
        await deciding.awithdraw(Actor.program(), (await in_database(row, "q")).pk)
        with pytest.raises(AlreadyDecided, match="withdrawn"):
            await config.wait_for_clarification("q")


class TestHandedOver:
    async def test_a_view_knows_what_was_just_handed_over(self, config: OrchestrationConfig) -> None:
        config.set_approval_pending("plan-1")
        assert config.approvals["plan-1"] is None

    def test_the_write_survives_the_loop(self, config: OrchestrationConfig) -> None:
        async def ask() -> None:
            config.set_approval_pending("plan-1")

        in_thread(lambda: asyncio.run(ask()))
        assert config.approvals["plan-1"] is None

    async def test_a_write_that_failed_surfaces_in_the_waits(
        self, config: OrchestrationConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In all that it kept waiting; who waits later waits for what is on record."""
        await config.aset_approval_pending("plan-1")
        with monkeypatch.context() as patched:
            patched.setattr(execution, "execute", unreachable)
            config.set_approval_result("plan-1", approved=True)
            waits = [asyncio.create_task(config.wait_for_approval("plan-1")) for _ in range(3)]
            errors = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(error) for error in errors] == [Unavailable] * 3
        waiting = asyncio.create_task(config.wait_for_approval("plan-1"))
        await registered(1)
        config.set_approval_result("plan-1", approved=True)
        assert await waiting

    async def test_a_wait_raises_when_nothing_that_it_awaited_is_still_written(
        self, config: OrchestrationConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The question failed, its result is being written: who tries again knows what is on record."""
        write, reached, go_on = execution.execute, Event(), Event()

        def execute(commands: list[Command]) -> list[Result]:
            if isinstance(commands[0], OpenRequest):
                unreachable(commands)
            reached.set()
            go_on.wait()
            return write(commands)

        await config.aset_approval_pending("plan-1")
        monkeypatch.setattr(execution, "execute", execute)
        config.set_approval_result("plan-1", approved=True)
        waiting = asyncio.create_task(config.wait_for_approval("plan-1"))
        await asyncio.to_thread(reached.wait)
        for _ in range(10):
            await asyncio.sleep(0)
        early = waiting.done()
        go_on.set()
        with pytest.raises(Unavailable):
            await waiting
        assert not early
        assert await config.wait_for_approval("plan-1")

    async def test_a_write_that_failed_before_anybody_waited_surfaces_once(
        self, config: OrchestrationConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(execution, "execute", unreachable)
            config.set_clarification_pending("q")
            with pytest.raises(Unavailable):
                await config.aset_clarification_result("q", "4711")
        with pytest.raises(Unavailable):
            await config.wait_for_clarification("q")
        with pytest.raises(KeyError):
            await config.wait_for_clarification("q")

    def test_the_write_survives_the_end_of_the_program(
        self, config: OrchestrationConfig, manage: Manage
    ) -> None:
        """Handed over by the last statement of the last coroutine of a real process."""
        process = manage("shell", "--no-imports", "-c", LAST_WORDS)
        assert process.wait() == 0
        assert config.clarifications["q"] == "4711"

    async def test_cleaning_up_forgets_the_wait_and_never_the_record(
        self, config: OrchestrationConfig
    ) -> None:
        await config.aset_approval_result("plan-1", approved=True)
        config.cleanup_approval("plan-1")
        config.cleanup_clarification("unknown")
        assert await config.wait_for_approval("plan-1")
        known = await in_database(queries.request_of_key, "events:approval", "plan-1")
        assert known is not None
