"""Commands in any order, one by one or many in one transaction: answered and recorded as the model says."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from approvals.domain.commands import (
    Answer,
    Command,
    Decision,
    OpenRequest,
    Reassign,
    Refused,
    Result,
)
from approvals.exceptions import ApprovalError
from approvals.writer import queue
from approvals.writer.queue import write_result
from tests.approvals.properties import model, wishes
from tests.approvals.properties.model import World
from tests.approvals.properties.stage import Company, Stage
from tests.effort import effort

# Making a found example small takes time.
pytestmark = [pytest.mark.django_db, pytest.mark.timeout(900)]


class Service(RuleBasedStateMachine):
    """The decision service beside the model: after each step both have said the same."""

    company: Company

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(self.company)
        self.world: World = {}
        self.given: list[Command] = []
        self.results: list[Result] = []

    @initialize(
        approval=wishes.questions(ids=st.just(wishes.APPROVALS[0])),
        another=wishes.questions(ids=st.just(wishes.APPROVALS[1])),
        clarification=wishes.questions(ids=st.just(wishes.CLARIFICATIONS[0])),
    )
    def some_are_asked(self, approval: OpenRequest, another: OpenRequest, clarification: OpenRequest) -> None:
        self.one_by_one(approval)
        self.one_by_one(another)
        self.one_by_one(clarification)

    @rule(command=wishes.questions())
    def ask(self, command: OpenRequest) -> None:
        self.one_by_one(command)

    @rule(command=wishes.decisions())
    def decide(self, command: Decision) -> None:
        self.one_by_one(command)

    @rule(command=wishes.answers)
    def answer(self, command: Answer) -> None:
        self.one_by_one(command)

    @rule(command=wishes.reassignments)
    def reassign(self, command: Reassign) -> None:
        self.one_by_one(command)

    @rule(command=wishes.others)
    def withdraw_reassign_reschedule_view_comment_or_expire(self, command: Command) -> None:
        self.one_by_one(command)

    @rule(which=st.integers(min_value=0))
    def the_same_again(self, which: int) -> None:
        self.one_by_one(self.given[which % len(self.given)])

    @rule(commands=st.lists(wishes.commands, min_size=2, max_size=6))
    def many_together(self, commands: list[Command]) -> None:
        """Written in one transaction, in order, as if one after the other."""
        real = [self.stage.real(command) for command in commands]
        for command, future in zip(commands, queue.submit_many(real), strict=True):
            self.compare(command, future.result())

    @precondition(lambda self: any(self.may_become_overdue()))
    @rule(which=st.integers(min_value=0))
    def a_deadline_passes(self, which: int) -> None:
        waiting = self.may_become_overdue()
        self.world = model.time_passes(self.world, waiting[which % len(waiting)].id)
        self.stage.pass_deadline(waiting[which % len(waiting)].id)

    def teardown(self) -> None:
        self.stage.check_record(self.world, self.results)

    def one_by_one(self, command: Command) -> None:
        self.compare(command, carried_out(self.stage.real(command)))

    def compare(self, command: Command, result: Result) -> None:
        self.world, reply = model.judge(self.world, command)
        self.given.append(command)
        self.results.append(result)
        assert self.stage.told(result) == self.stage.expected(reply)

    def may_become_overdue(self) -> list[model.Question]:
        return [one for one in self.world.values() if one.status == "pending" and one.has_deadline]


def carried_out(command: Command) -> Result:
    """As people's and programs' doors do it."""
    try:
        return write_result(command)
    except ApprovalError as error:
        return Refused(code=error.code, detail=error.detail, outcome=error.outcome)


def test_any_order_of_commands_is_answered_and_recorded_as_the_model_says() -> None:
    """One end at most for each request, told alike to everybody; the trail alone tells the same story."""
    Service.company = Company()
    run_state_machine_as_test(Service, settings=effort(30, steps=30))
