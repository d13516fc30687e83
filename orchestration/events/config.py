"""Ask and wait by plan id and request id: the replacement for code that polls a dictionary."""

from __future__ import annotations

from collections.abc import MutableMapping
from contextlib import suppress
from datetime import timedelta

from approvals.database.threads import in_database_now
from approvals.domain.commands import Actor, Answer, Decision
from approvals.domain.lifecycle import Kind, Outcome, Verdict
from approvals.domain.payloads import check_text
from approvals.exceptions import AlreadyDecided, InvalidAnswer
from orchestration.events.mapping import EventMapping
from orchestration.events.records import EventRecords


class OrchestrationConfig:
    """Approvals by plan id and clarifications by request id, on record and without polling.

    Setters return when their write is on record. Inside a running event loop they submit the write and
    return at once; the matching `wait_for_*` awaits the record first. The `aset_*` methods await the record
    and raise what went wrong. The first result counts: a second one is logged, and noted on the trail.

    `approvals` and `clarifications` are dictionaries over the record: None while pending, else the result.
    Assigning None asks, like `set_*_pending`; assigning a value decides, like `set_*_result`; `del` forgets,
    like `cleanup_*`, and hides the id from this object until it is set again. The record stays, and
    `wait_for_*` still finds it.

    `default_timeout` is in seconds.
    """

    default_timeout: float | timedelta = 300.0

    def __init__(self) -> None:
        self._approvals = EventRecords(Kind.APPROVAL)
        self._clarifications = EventRecords(Kind.CLARIFICATION)
        self.approvals: MutableMapping[str, bool | None] = EventMapping(
            self._approvals,
            lambda outcome: outcome.approved,
            ask=self.set_approval_pending,
            decide=self.set_approval_result,
        )
        self.clarifications: MutableMapping[str, str | None] = EventMapping(
            self._clarifications,
            lambda outcome: None if outcome.answer is None else str(outcome.answer),
            ask=self.set_clarification_pending,
            decide=self.set_clarification_result,
        )

    def set_approval_pending(self, plan_id: str) -> None:
        """Ask for the approval of a plan, within `default_timeout`; a closed one is asked again."""
        self._approvals.submit(plan_id, self.default_timeout)

    async def aset_approval_pending(self, plan_id: str) -> None:
        """Ask for the approval of a plan, and await the record."""
        await self._approvals.awrite(plan_id, self.default_timeout)

    def set_approval_result(self, plan_id: str, approved: bool) -> None:
        """Decide about the plan, as this program; also before anybody waits or has asked."""
        self._approvals.submit(plan_id, self.default_timeout, self._decision(plan_id, approved))

    async def aset_approval_result(self, plan_id: str, approved: bool) -> None:
        """Decide about the plan, await the record; AlreadyDecided and TooLate have the recorded outcome."""
        await self._approvals.awrite(plan_id, self.default_timeout, self._decision(plan_id, approved))

    async def wait_for_approval(self, plan_id: str, timeout: float | timedelta | None = None) -> bool:  # noqa: ASYNC109
        """Wait for the decision; return False where it is rejected or withdrawn, or the deadline passes.

        The first wait with a `timeout`, in seconds, sets the deadline; later waits join. A later wait whose
        timeout ends before the deadline raises StillPending then, and the plan stays open. Raises KeyError
        for a plan that nobody asked about.
        """
        return (await self._approvals.outcome(plan_id, timeout)).approved is True

    def set_clarification_pending(self, request_id: str) -> None:
        """Ask for a clarification, within `default_timeout`; a closed one is asked again."""
        self._clarifications.submit(request_id, self.default_timeout)

    async def aset_clarification_pending(self, request_id: str) -> None:
        """Ask for a clarification, and await the record."""
        await self._clarifications.awrite(request_id, self.default_timeout)

    def set_clarification_result(self, request_id: str, answer: str) -> None:
        """Answer, as this program; also before anybody waits or has asked. An empty text is an answer."""
        self._clarifications.submit(request_id, self.default_timeout, self._answer(request_id, answer))

    async def aset_clarification_result(self, request_id: str, answer: str) -> None:
        """Answer and await the record; AlreadyDecided and TooLate have the recorded outcome."""
        await self._clarifications.awrite(request_id, self.default_timeout, self._answer(request_id, answer))

    async def wait_for_clarification(self, request_id: str, timeout: float | timedelta | None = None) -> str:  # noqa: ASYNC109
        """Wait for the answer; return the default text where the deadline passes.

        `timeout` is as in `wait_for_approval`. Raises KeyError for a question that nobody asked, and
        AlreadyDecided for one that was withdrawn.
        """
        outcome = await self._clarifications.outcome(request_id, timeout)
        if outcome.withdrawn:
            raise AlreadyDecided(f"The question {request_id!r} was withdrawn.", outcome=outcome)
        return str(outcome.answer)

    def outcome(self, request_id: str) -> Outcome:
        """Return the recorded outcome of a clarification, or of the plan with this id where there is none.

        `timed_out` tells the default from an equal answer, `withdrawn` a withdrawn plan from a rejected one.
        Raises KeyError for an id that nobody asked about.
        """
        for events in (self._clarifications, self._approvals):
            events.wait_for_writes(request_id)
            with suppress(KeyError):
                return in_database_now(events.read, request_id)
        raise KeyError(request_id)

    def cleanup_approval(self, plan_id: str) -> None:
        """Forget what this process keeps in memory about the plan; the record stays."""
        self._approvals.forget(plan_id)

    def cleanup_clarification(self, request_id: str) -> None:
        """Forget what this process keeps in memory about the question; the record stays."""
        self._clarifications.forget(request_id)

    def _decision(self, plan_id: str, approved: bool) -> Decision:
        if not isinstance(approved, bool):  # the text "no" is true, too
            raise InvalidAnswer("approved is true or false.", field="approved")
        verdict = Verdict.APPROVE if approved else Verdict.REJECT
        named = self._approvals.key_of(plan_id)
        return Decision(request_id=named, actor=Actor.program(), verdict=verdict)

    def _answer(self, request_id: str, answer: str) -> Answer:
        answer = check_text(answer, "answer", error=InvalidAnswer)
        named = self._clarifications.key_of(request_id)
        return Answer(request_id=named, actor=Actor.program(), answer=answer)


orchestration_config = OrchestrationConfig()
