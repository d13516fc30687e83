"""Run an orchestration under test: the code that executes runs elsewhere, with a record in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Never
from uuid import UUID

from asgiref.sync import async_to_sync, sync_to_async

from approvals import gate
from approvals.database.fields import new_id
from approvals.domain.lifecycle import Kind, Outcome
from orchestration.catalog import Orchestration, find_orchestration, registered_kinds
from orchestration.catalog.isolation import Caught, Raised
from orchestration.catalog.signatures import Function, check_orchestration
from orchestration.models import Run as RunRow
from orchestration.models import RunStatus
from orchestration.policies import allowlists
from orchestration.policies.deciders import escalation_of
from orchestration.runs.call_records import Call
from orchestration.runs.execution import Execution
from orchestration.runs.journal import Claimed, Ownership
from orchestration.runs.questions import NOT_WAITED_FOR, Questions
from orchestration.runs.recorder import Recorder
from orchestration.runs.replies import OnQuestion
from orchestration.runs.run import Means, Run
from orchestration.runs.run_records import Ending
from orchestration.testing.clock import NEVER, Clock, NothingComes, Sleeps
from orchestration.testing.people import AskedRequest, People, PeopleMismatch, Replies, withdraw
from orchestration.testing.record import Book, MemoryRecorder, Said, Step
from orchestration.testing.threads import CallersThread


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A run under test that has ended.

    `status`, `reason` and `error` are as they would be on record; `exception` is what the code raised.
    `requests`, `messages` and `steps` are in the order in which they began, `plan` as it was shown last.
    `took` is the time that passed for the run, sleeps and deadlines included.
    """

    status: RunStatus
    reason: str
    error: str
    requests: list[AskedRequest]
    messages: list[Said]
    steps: list[Step]
    plan: list[dict[str, Any]]
    took: timedelta
    exception: BaseException | None = field(default=None, repr=False)
    returned: Any = field(default=None, repr=False)

    @property
    def result(self) -> Any:
        """What the orchestration returned. AssertionError if the run was not completed."""
        if self.status is not RunStatus.COMPLETED:
            raise AssertionError(
                f"The run has no result: it is {self.status.value}. {self.error}"
            ) from self.exception
        return self.returned


def run_orchestration(
    orchestration: str | Function,
    input: Mapping[str, Any] | None = None,  # noqa: A002 - what people call it
    *,
    people: Replies = (),
    owner: Any = None,
    version: int | None = None,
) -> FinishedRun:
    """Run an orchestration, given by name or as its function, to its end, and return what it did.

    `people` are the replies to its requests, in order, or a function that is given each request and returns
    the reply. Nothing is recorded, no names are looked up, nobody is notified. Steps are performed: the
    synchronous ones on this thread, with the test's connection to the database. Sleeps and deadlines take no
    time.

    Raises PeopleMismatch, an AssertionError, where replies are too few, too many or do not fit; InvalidInput
    and UnknownOrchestration as a start does. Whatever the orchestration raises ends the run, as elsewhere.
    In coroutines, await `arun_orchestration`.
    """
    run = partial(arun_orchestration, orchestration, input, people=people, owner=owner, version=version)
    finished: FinishedRun = async_to_sync(run)()
    return finished


async def arun_orchestration(
    orchestration: str | Function,
    input: Mapping[str, Any] | None = None,  # noqa: A002 - what people call it
    *,
    people: Replies = (),
    owner: Any = None,
    version: int | None = None,
) -> FinishedRun:
    """Run an orchestration as `run_orchestration`, in a coroutine."""
    everybody = People(people)
    # As in a start: the modules of apps may be imported, and a check may look into the database.
    entry = await sync_to_async(_entry_of)(orchestration, version)
    given = await sync_to_async(entry.check_input)(dict(input or {}))
    execution = _Execution(entry, given, owner, everybody)
    finished = await execution.finish()
    everybody.check_all_replied(finished.error if finished.status is RunStatus.FAILED else "")
    return finished


def _entry_of(orchestration: str | Function, version: int | None) -> Orchestration:
    if isinstance(orchestration, str):
        return find_orchestration(orchestration, version)
    for kind in registered_kinds():
        entry = find_orchestration(*kind)
        if entry.function is orchestration and version in (None, entry.version):
            return entry
    check_orchestration(orchestration)
    name = getattr(orchestration, "__name__", "orchestration")
    return Orchestration(name=name, description="", function=orchestration)


class _Execution(Execution):
    """Executes one run under test."""

    def __init__(self, entry: Orchestration, given: dict[str, Any], owner: Any, people: People) -> None:
        self._clock = Clock()
        self._book = Book(self._clock)
        self._sleeps = Sleeps(self._clock, self._executing_steps)
        means = Means(
            threads=CallersThread(),
            wakeups=self._sleeps,
            recorder=partial(MemoryRecorder, self._book, self._clock, self._sleeps),
        )
        super().__init__(_claimed(entry, given, owner), means)
        self._entry = entry
        self._people = people
        self._raised: BaseException | None = None
        self._mismatch: PeopleMismatch | None = None

    async def finish(self) -> FinishedRun:
        """Execute the run to its end. Raises PeopleMismatch."""
        task = asyncio.create_task(self._to_the_end(), context=allowlists.clean_context())
        ending = await task
        if self._mismatch is not None:
            raise self._mismatch
        for request in self._people.asked:
            if request.outcome is None:
                request.close(withdraw("The run has ended."), self._clock.now)
        return FinishedRun(
            status=ending.status,
            reason=ending.reason,
            error=ending.error,
            requests=self._people.asked,
            messages=self._book.messages,
            steps=list(self._book.steps.values()),
            plan=self._book.plan,
            took=self._clock.now - self._clock.started,
            exception=self._raised,
            returned=ending.result,
        )

    async def reply(self, request: AskedRequest) -> None:
        """Have the people reply to the request in their time; where nobody can, end the run."""
        try:
            reply = request.in_time(self._people.reply_to(request))
            due = request.due(reply)
            if due is None or due > self._clock.now:
                await self._sleeps.until(NEVER if due is None else due)
            self._people.close(request, reply, self._clock.now)
        except NothingComes:
            self._end(self._people.nothing_comes(request))
        except PeopleMismatch as error:
            self._end(error)

    def _end(self, mismatch: PeopleMismatch) -> Never:
        self._mismatch = self._mismatch or mismatch
        self.cancel()
        raise asyncio.CancelledError from mismatch

    def _executing_steps(self) -> int:
        return 0 if self._run is None else self._run.record.active_steps.number

    def _make_run(self) -> Run:
        return _Run(self._claimed, self._means, self)

    def _find_orchestration(self) -> Orchestration:
        return self._entry

    async def _run_contained(self, run: Run) -> Caught[Ending]:
        caught = await super()._run_contained(run)
        self._raised = caught.error if isinstance(caught, Raised) else None
        return caught

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def entry(self) -> Orchestration:
        return self._entry


class _Run(Run):
    """A Run whose requests are replied to by the people of the test."""

    def __init__(self, claimed: Claimed, means: Means, execution: _Execution) -> None:
        super().__init__(claimed, means)
        self._execution = execution
        self._questions: _Questions = _Questions(claimed.run, self.record, execution)

    async def _open(
        self,
        kind: Kind,
        title: str,
        terms: Mapping[str, Any],
        details: str,
        *,
        key: str,
        asked_since: datetime | None,
    ) -> str:
        entry = self._execution.entry
        said = {**terms, "details": details}
        if "named_four_eyes" in terms:
            said["four_eyes"] = entry.four_eyes
        named = terms.get("assignees", entry.deciders)
        if "escalation" not in terms:
            said["escalation"] = escalation_of(entry, {**terms, "assignees": named})
        asked = gate.check_asked(kind, title, said)
        fields = AskedRequest.__dataclass_fields__
        request = AskedRequest(
            id=new_id(),
            kind=kind,
            opened_at=self._execution.clock.now,
            assignees=list(named) if isinstance(named, list | tuple) else named,
            **{name: value for name, value in asked.items() if name in fields and name != "key"},
            key=key,
        )
        self._questions.requests[request.id] = request
        return str(request.id)


class _Questions(Questions):
    """The questions of a run under test; its requests are in memory."""

    def __init__(self, run: RunRow, record: Recorder, execution: _Execution) -> None:
        super().__init__(run, record)
        self.requests: dict[UUID, AskedRequest] = {}
        self._execution = execution

    async def _wait(self, request_id: UUID) -> Outcome:
        request = self.requests[request_id]
        if request.outcome is None:
            await self._execution.reply(request)
        assert request.outcome is not None  # noqa: S101 - a reply closes it
        return request.outcome

    async def _wait_and_reply(self, call: Call, request_id: UUID, on_question: OnQuestion) -> Outcome:
        """Wait: the people of a test ask nothing back."""
        return await self._wait(request_id)

    async def _find(self, key: str) -> UUID | None:
        return next((each.id for each in self.requests.values() if each.key == key), None)

    async def _withdraw(self, request_id: UUID | None) -> None:
        if request_id is not None and (request := self.requests[request_id]).outcome is None:
            request.close(withdraw(NOT_WAITED_FOR), self._execution.clock.now)


def _claimed(entry: Orchestration, given: dict[str, Any], owner: Any) -> Claimed:
    row = RunRow(
        orchestration=entry.name,
        version=entry.version,
        title=entry.title_of(given),
        input=given,
        owner=owner,
        status=RunStatus.RUNNING,
        epoch=1,
    )
    return Claimed(ownership=Ownership(row.pk, row.epoch), run=row, records=())
