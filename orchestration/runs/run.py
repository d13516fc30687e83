"""The Run: what an orchestration uses to ask, say and do things, each recorded under a key.

After a crash the orchestration runs again from the top. Calls that are on record return at once, open ones
are waited for again, and the run goes on at the first call without a record; see replay.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Never, cast
from uuid import UUID

from approvals import gate, links
from approvals.database.threads import in_database
from approvals.domain import questions
from approvals.domain.lifecycle import Kind, Outcome, Status
from approvals.domain.payloads import check_text
from approvals.domain.payloads import seconds as checked_seconds
from approvals.domain.questions import REVIEWERS
from approvals.domain.term_rules import REMIND_AT
from approvals.exceptions import InvalidRequest
from approvals.gate import OMITTED
from orchestration.catalog.retries import retry_policy
from orchestration.exceptions import Interrupted, Rejected, Responded, TimedOut, Withdrawn, because
from orchestration.models import StepStatus
from orchestration.plans import StepState
from orchestration.policies.deciders import OWNER, resolve_terms
from orchestration.runs import call_records, interruptions, journal
from orchestration.runs.call_records import Call
from orchestration.runs.interruptions import Decision
from orchestration.runs.journal import Claimed
from orchestration.runs.messages import NAME_LIMIT, Messages, MessageWriter
from orchestration.runs.plan_progress import PlanProgress
from orchestration.runs.questions import Ask, Questions
from orchestration.runs.recorder import IdleMarker, Recorder
from orchestration.runs.replies import OnQuestion, check_on_question
from orchestration.runs.sleeps import Wakeups, sleep
from orchestration.runs.steps import Steps

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Means:
    """What the runs of one process share: threads for steps, a timer for sleeps, a marker of idle runs.

    `recorder` makes the record of each.
    """

    threads: Executor
    wakeups: Wakeups = field(default_factory=Wakeups)
    idle_marker: IdleMarker = field(default_factory=IdleMarker)
    recorder: Callable[[Claimed, IdleMarker], Recorder] = Recorder


class Run:
    """One execution of an orchestration, as its function gets it. Belongs to one event loop."""

    def __init__(self, claimed: Claimed, means: Means) -> None:
        row = claimed.run
        self.id: UUID = row.pk
        self.orchestration: str = row.orchestration
        self.version: int = row.version
        self.owner: Any = row.owner
        self.record = means.recorder(claimed, means.idle_marker)
        self.replay = self.record.replay
        self._wakeups = means.wakeups
        self._steps = Steps(self.id, self.record, means.threads, self._ask_about_interruption)
        self._questions = Questions(row, self.record)
        self._messages = Messages(self.record)
        self._progress = PlanProgress(row, self.record)

    @property
    def url(self) -> str:
        """The address of the run's page."""
        return links.address_of("run", run_id=self.id)

    # People

    async def approve(
        self,
        title: str,
        *,
        arguments: dict[str, Any] | None = None,
        details: str = "",
        context: str = "",
        links: Sequence[Mapping[str, str]] = (),
        metadata: Mapping[str, str] | None = None,
        group: Mapping[str, str] | None = None,
        assignees: Collection[Any] | None = None,
        severity: str = "normal",
        highlight: Sequence[str] = (),
        editable: bool | dict[str, Any] = False,
        required: int = 1,
        four_eyes: bool | None = None,
        decisions: Sequence[str] = ("approve", "reject"),
        reason_required: bool = False,
        timeout: float | timedelta | None = OMITTED,  # noqa: ASYNC109 - the request's deadline, not this call's
        escalation: Sequence[Mapping[str, Any]] | None = None,
        remind: float | None = REMIND_AT,
        confidential: bool = False,
        on_timeout: str = "reject",
        key: str | None = None,
        keep_open: bool = False,
        on_question: OnQuestion | None = None,
    ) -> Outcome:
        """Wait until `arguments` are approved and return the outcome; raise Rejected, which has it, if not.

        `outcome.arguments` is what was approved: the approver may edit it if `editable`. `timeout` is in
        seconds. `context` is Markdown that the page shows folded, `links` have a title and a url each,
        `metadata` are texts of your own. Requests with a `group` of the same key, which also has a title,
        belong together. `severity` is "normal" or "high"; lists show the arguments that
        `highlight` names, else the first two. `assignees` and `four_eyes` omitted: as an administrator has
        set them for the orchestration, else as it was registered, else the owner and False. REVIEWERS names
        any reviewer, OWNER the run's owner. `escalation` says who decides as well, or instead, if nobody
        has after a while; omitted: as the orchestration was registered. `remind` is the share of the time
        after which who has not decided is reminded; None: never. What is `confidential` has no word in
        messages to people.

        With "respond" among the `decisions` somebody may give a text instead: Responded, a Rejected, has it
        as `outcome.answer`. Where a `reason_required` is, nobody approves or rejects without a comment.
        Raises Withdrawn where the request was withdrawn.

        If this wait is cancelled while the run goes on (`asyncio.wait_for`), the request is withdrawn. With
        `keep_open` it stays open, and another call with the same `key` waits for it.

        `on_question(text, who)`, a coroutine function, is given what people ask back meanwhile, each question
        once; what it returns is the reply, None: there is none. Its errors are logged.
        """
        terms = {
            "arguments": arguments,
            **_beside(context, links, metadata),
            "group": group,
            "severity": severity,
            "remind": remind,
            "confidential": confidential,
            "highlight": highlight,
            "editable": editable,
            "required": required,
            # As calls were recorded before orchestrations could set it.
            **({"named_four_eyes": False} if four_eyes is None else {"four_eyes": four_eyes}),
            "decisions": list(decisions),
            "reason_required": reason_required,
            "on_timeout": on_timeout,
            **self._terms(assignees, timeout, escalation),
        }
        ask = partial(self._open, Kind.APPROVAL, title, terms, details)
        meaning = gate.meaning(Kind.APPROVAL, title, terms)
        outcome = await self._ask(
            ask,
            "approve",
            title,
            key,
            meaning,
            former=arguments or {},
            keep_open=keep_open,
            on_question=on_question,
        )
        if outcome.approved:
            return outcome
        if outcome.status == Status.ANSWERED:
            raise Responded(f"{title}: answered instead{because(outcome)}", outcome=outcome)
        reason = "nobody decided in time" if outcome.timed_out else f"rejected{because(outcome)}"
        raise Rejected(f"{title}: {reason}", outcome=outcome)

    async def ask(
        self,
        title: str,
        *,
        choices: Collection[str] | Mapping[str, str] | None = None,
        multiple: bool = False,
        schema: dict[str, Any] | None = None,
        default: Any = OMITTED,
        details: str = "",
        context: str = "",
        links: Sequence[Mapping[str, str]] = (),
        metadata: Mapping[str, str] | None = None,
        group: Mapping[str, str] | None = None,
        assignees: Collection[Any] | None = None,
        severity: str = "normal",
        timeout: float | timedelta | None = OMITTED,  # noqa: ASYNC109 - the request's deadline, not this call's
        escalation: Sequence[Mapping[str, Any]] | None = None,
        remind: float | None = REMIND_AT,
        confidential: bool = False,
        key: str | None = None,
        keep_open: bool = False,
        on_question: OnQuestion | None = None,
    ) -> Any:
        """Ask a question and return the answer; raise TimedOut where there is none in time and no default.

        What is said beside the question, `group`, `assignees`, `severity`, `timeout`, `escalation`, `remind`,
        `confidential`, `keep_open` and `on_question` are as for `approve`. Raises Withdrawn where the
        question was withdrawn.
        """
        terms = {
            **_beside(context, links, metadata),
            "group": group,
            "severity": severity,
            "remind": remind,
            "confidential": confidential,
            "choices": _plain_choices(choices),
            "multiple": multiple,
            "schema": schema,
            "default": default,
            **self._terms(assignees, timeout, escalation),
        }
        ask = partial(self._open, Kind.CLARIFICATION, title, terms, details)
        meaning = gate.meaning(Kind.CLARIFICATION, title, terms)
        former = [terms["choices"], multiple, schema]
        outcome = await self._ask(
            ask, "ask", title, key, meaning, former=former, keep_open=keep_open, on_question=on_question
        )
        if outcome.timed_out and outcome.answer is None:
            raise TimedOut(f"{title}: nobody answered in time", outcome=outcome)
        return outcome.answer

    async def _ask(
        self,
        ask: Ask,
        kind: str,
        title: str,
        key: str | None,
        meaning: questions.Meaning,
        *,
        former: object,
        keep_open: bool,
        on_question: OnQuestion | None,
    ) -> Outcome:
        check_on_question(on_question)
        await self.record.admit()
        content = questions.said_in(meaning)
        with self.replay.calling(kind, title, key, content, former=former) as call:
            outcome = await self._questions.outcome(call, ask, keep_open=keep_open, on_question=on_question)
        if outcome.withdrawn:
            raise Withdrawn(f"{title}: withdrawn{because(outcome)}", outcome=outcome)
        return outcome

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
        """Open the request for those who decide now, unless it is open already; return its id."""
        of_this_key: dict[str, Any] = {"key": key, "asked_since": asked_since}
        try:
            now = await in_database(resolve_terms, (self.orchestration, self.version), self.owner, terms)
        except InvalidRequest:
            # A decider may be gone since it was opened; it keeps its deciders.
            outcome = await in_database(gate.on_record, kind, title, {**terms, **of_this_key})
            if outcome is None:
                raise
            return outcome.request_id
        open_ = gate.aopen_approval if kind is Kind.APPROVAL else gate.aopen_clarification
        return await open_(title, details=details, **now, **of_this_key)

    def _terms(
        self,
        assignees: Collection[Any] | None,
        timeout: float | timedelta | None,
        escalation: Sequence[Mapping[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """Build the terms of every question.

        Without `assignees` or `escalation`, these are looked up when it is opened.
        """
        if assignees is None or assignees is OWNER:
            # No names: a replay does not compare who decides.
            named = "owner"
            people = (
                {} if assignees is None else {"assignees": REVIEWERS if self.owner is None else [self.owner]}
            )
        else:
            people = {"assignees": list(assignees) if isinstance(assignees, Iterator) else assignees}
            named = questions.assignees_as_named(people["assignees"])
        return {
            **people,
            **({} if escalation is None else {"escalation": escalation}),
            "named": named,
            "timeout": timeout,
            "requester": self.owner,
            "origin": {"kind": "run", "id": str(self.id), "url": self.url},
        }

    # Time

    async def sleep(self, seconds: float | timedelta, *, key: str | None = None) -> None:
        """Sleep for so many seconds on the database's clock, from zero to a hundred years.

        The end is recorded, and restarts neither prolong nor shorten it; a replay with another duration keeps
        the recorded end. A sleeping run holds nothing but a timer entry.
        """
        if isinstance(seconds, timedelta):
            seconds = seconds.total_seconds()
        await self._sleep(cast("float", checked_seconds(seconds, "seconds", none_allowed=False)), key)

    async def sleep_until(self, moment: datetime, *, key: str | None = None) -> None:
        """Sleep until this moment, which must have a time zone; return at once where it has passed."""
        if not isinstance(moment, datetime) or moment.utcoffset() is None:
            raise InvalidRequest("moment: must be a datetime with a time zone.", field="moment")
        await self._sleep(moment.astimezone(UTC), key)

    async def _sleep(self, until: datetime | float, key: str | None) -> None:
        await self.record.admit()
        with self.replay.calling("sleep", "sleep", key, None) as call:
            await sleep(self.record, self._wakeups, call, until)

    # Messages

    async def say(self, agent: str, text: str, *, key: str | None = None) -> None:
        """Record a message; the run's page shows it at once."""
        await self._messages.say(agent, text, key)

    def speaking(self, agent: str, *, key: str | None = None) -> AbstractAsyncContextManager[MessageWriter]:
        """Record a message in chunks: `async with run.speaking("writer") as speak: await speak("a chunk")`.

        If the record already has the whole message, it is in `speak.text`, and chunks are dropped.
        """
        return self._messages.writer(agent, key)

    # Steps

    async def step(
        self,
        name: str,
        function: Callable[..., Any],
        /,
        *args: Any,
        key: str | None = None,
        retries: int | None = None,
        idempotent: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call `function`, record its result and return it; once the result is recorded, never call it again.

        Synchronous functions run in a thread. The result must be JSON. If the function raises, it is called
        up to `retries` times more, after pauses; the last error is recorded too, and raised as StepFailed,
        now and in every replay.

        If the process dies during the step, nobody knows whether it had its effect. It is called again if
        `idempotent`, or if any of its `retries` are left; else the run's owner is asked, who may also say
        that it was done, and with which result. Omitted, both are as the step's agent says, by default 0 and
        False.
        """
        check_text(name, "name", max_length=NAME_LIMIT, required=True, one_line=True)
        policy = retry_policy(retries, idempotent)
        function = partial(function, *args, **kwargs)
        await self.record.admit()
        with self.replay.calling("step", name, key, [args, kwargs]) as call:
            return await self._steps.perform(call, function, policy)

    async def _ask_about_interruption(self, call: Call, function: partial[Any]) -> Outcome:
        """Ask a person how to go on with an interrupted step; end the run if the answer is to stop."""
        with self.replay.within(call, "interrupted", call.attempt - 1) as question:
            outcome = await self._questions.outcome(
                question, partial(self._open_interruption, call, function)
            )
            if interruptions.decision_of(outcome) is Decision.STOP:
                await self._stop(question, interruptions.describe_stopped_step(call.name, outcome))
            return outcome

    async def _open_interruption(
        self, call: Call, function: partial[Any], *, key: str, asked_since: datetime | None
    ) -> str:
        begun = await in_database(call_records.find_step, self.id, call.key)
        details = interruptions.details_for(
            call.name,
            function,
            attempt=begun.attempts,
            begun_at=begun.started_at,
            begun_by=begun.begun_by,
            error=begun.error,
        )
        # Without a deadline: only a person can decide this.
        terms = {"schema": interruptions.SCHEMA, **self._terms(None, None)}
        title = interruptions.title_for(call.name)
        return await self._open(Kind.CLARIFICATION, title, terms, details, key=key, asked_since=asked_since)

    async def take_up(self, claimed: Claimed) -> None:
        """Return when the run's code may be called: after too many deaths of its process, a person decides.

        Called by the execution, not by the run's code.
        """
        deaths = claimed.run.deaths
        if deaths < journal.DEATHS_LIMIT:
            return
        log.warning("run waits for a person after deaths of its process run=%s deaths=%s", self.id, deaths)
        whole = Call(key="", position=None, kind="run", name=self.orchestration, fingerprint="")
        number = self.replay.next_within(whole, "interrupted")
        with self.replay.within(whole, "interrupted", number) as question:
            ask = partial(
                self._open,
                Kind.CLARIFICATION,
                interruptions.title_for_run(claimed.run.title, deaths),
                # Without a deadline: only a person can decide this.
                {"choices": interruptions.CHOICES, **self._terms(None, None)},
                interruptions.details_for_run(claimed.records, deaths),
            )
            outcome = await self._questions.outcome(question, ask)
            if not interruptions.may_go_on(outcome):
                await self._stop(question, interruptions.describe_stopped_run(deaths, outcome))

    async def _stop(self, question: Call, text: str) -> Never:
        """End the run. The question is recorded as failed, so that a resumed run asks it again."""
        await self.record.record(question, StepStatus.FAILED, error=text)
        self.replay.end(Interrupted(text))

    # The plan, for people to follow

    @property
    def plan(self) -> Sequence[Mapping[str, Any]]:
        """The plan as shown: each step's id, title, agent, action, arguments, state, times, request, note."""
        return self._progress.steps

    async def show_plan(self, steps: Sequence[Mapping[str, Any]]) -> None:
        """Show what is going to happen: a mapping with title, agent, action, arguments for each step."""
        await self._progress.show(steps)

    async def mark_step(
        self, index: int, state: StepState | str, note: str = "", *, request_id: str | None = None
    ) -> None:
        """Show the state of a step of the plan. A step that is over stays so, unless a new plan is shown."""
        await self._progress.mark(index, state, note, request_id)


def _beside(
    context: str, links: Sequence[Mapping[str, str]], metadata: Mapping[str, str] | None
) -> dict[str, Any]:
    return {"context": context, "links": [dict(link) for link in links], "metadata": dict(metadata or {})}


def _plain_choices(choices: Collection[str] | None) -> Any:
    """Return the choices as JSON, with their labels, if any."""
    if choices is None:
        return None
    return dict(choices) if isinstance(choices, Mapping) else list(choices)
