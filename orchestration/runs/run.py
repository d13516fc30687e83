"""The Run: what an orchestration asks, says and does, each recorded under a key.

After a crash the orchestration runs again from the top. What is on record returns at once, what is open is
waited for again, and the first call without a record is where it goes on; see replay.py.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast
from uuid import UUID

from approvals import gate
from approvals.database.threads import in_database
from approvals.delivery import links
from approvals.domain import questions
from approvals.domain.lifecycle import Kind, Outcome
from approvals.domain.payloads import checked_json, checked_text
from approvals.domain.payloads import seconds as checked_seconds
from approvals.domain.questions import REVIEWERS
from approvals.exceptions import InvalidRequest
from approvals.gate import OMITTED
from orchestration.catalog.retries import retry_policy
from orchestration.exceptions import Interrupted, Rejected, TimedOut, Withdrawn
from orchestration.models import StepStatus
from orchestration.plans import OVER, StepState
from orchestration.policies.deciders import OWNER, resolve_terms
from orchestration.runs import interruptions, journal
from orchestration.runs.idle import IdleMarker
from orchestration.runs.interruptions import Way
from orchestration.runs.journal import Call, Claimed
from orchestration.runs.messages import MessageWriter
from orchestration.runs.questions import Ask, Questions
from orchestration.runs.recorder import Recorder
from orchestration.runs.sleeps import Sleeps
from orchestration.runs.steps import Steps
from orchestration.runs.wakeups import Wakeups

log = logging.getLogger(__name__)

NAME_LIMIT = 100
TEXT_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Means:
    """What the runs of one process share: threads for steps, and what wakes and notes those that wait."""

    threads: Executor
    wakeups: Wakeups
    idle_marker: IdleMarker


class Run:
    """One execution of an orchestration, as its function sees it. Belongs to one event loop."""

    def __init__(self, claimed: Claimed, means: Means) -> None:
        row = claimed.run
        self.id: UUID = row.pk
        self.orchestration: str = row.orchestration
        self.version: int = row.version
        self.owner: Any = row.owner
        self.record = Recorder(claimed, means.idle_marker)
        self.replay = self.record.replay
        self.active_steps = self.record.active_steps
        self._steps = Steps(self.id, self.record, means.threads, self._decision_about)
        self._sleeps = Sleeps(self.record, means.wakeups)
        self._questions = Questions(row, self.record)
        self._plan: list[dict[str, Any]] = row.plan
        self._plan_round: int = row.plan_round
        self._plans_shown = 0

    @property
    def url(self) -> str:
        return links.address_of(f"/runs/{self.id}/")

    # People

    async def approve(
        self,
        title: str,
        *,
        arguments: dict[str, Any] | None = None,
        details: str = "",
        assignees: Collection[Any] | None = None,
        editable: bool | dict[str, Any] = False,
        required: int = 1,
        four_eyes: bool | None = None,
        timeout: float | timedelta | None = OMITTED,  # noqa: ASYNC109 - the request's deadline, not this call's
        on_timeout: str = "reject",
        key: str | None = None,
        keep_open: bool = False,
    ) -> Outcome:
        """Have exactly `arguments` approved; returns the outcome if so, else raises Rejected with it.

        `outcome.arguments` is what was approved, where the approver may edit. `assignees` and `four_eyes`
        omitted: as an administrator has set them for the orchestration, else as it was registered, else the
        owner and False. REVIEWERS names whoever has the permission, OWNER the owner.

        Where this wait is cancelled while the run goes on (`asyncio.wait_for`), the request is withdrawn;
        with `keep_open` it stays, and another call with the same `key` waits for it.
        """
        terms = {
            "arguments": arguments,
            "editable": editable,
            "required": required,
            # As every call was recorded before orchestrations had a word in it.
            **({"named_four_eyes": False} if four_eyes is None else {"four_eyes": four_eyes}),
            "on_timeout": on_timeout,
            **self._terms(assignees, timeout),
        }
        ask = partial(self._open, Kind.APPROVAL, title, terms, details)
        meaning = gate.meaning(Kind.APPROVAL, title, terms)
        outcome = await self._ask(
            ask, "approve", title, key, meaning, former=arguments or {}, keep_open=keep_open
        )
        if outcome.approved:
            return outcome
        if outcome.withdrawn:
            raise Withdrawn(f"{title}: withdrawn{_because(outcome)}", outcome=outcome)
        reason = "nobody decided in time" if outcome.timed_out else f"rejected{_because(outcome)}"
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
        assignees: Collection[Any] | None = None,
        timeout: float | timedelta | None = OMITTED,  # noqa: ASYNC109 - the request's deadline, not this call's
        key: str | None = None,
        keep_open: bool = False,
    ) -> Any:
        """Ask a question, return the answer; TimedOut where the deadline passed and there is no default.

        `assignees` and `keep_open` are as for `approve`.
        """
        terms = {
            "choices": _plain_choices(choices),
            "multiple": multiple,
            "schema": schema,
            "default": default,
            **self._terms(assignees, timeout),
        }
        ask = partial(self._open, Kind.CLARIFICATION, title, terms, details)
        meaning = gate.meaning(Kind.CLARIFICATION, title, terms)
        former = [terms["choices"], multiple, schema]
        outcome = await self._ask(ask, "ask", title, key, meaning, former=former, keep_open=keep_open)
        if outcome.withdrawn:
            raise Withdrawn(f"{title}: withdrawn{_because(outcome)}", outcome=outcome)
        if outcome.timed_out and outcome.answer is None:
            raise TimedOut(f"{title}: nobody answered in time", outcome=outcome)
        return outcome.answer

    async def _ask(
        self,
        ask: Ask,
        kind: str,
        title: str,
        key: str | None,
        meaning: object,
        *,
        former: object,
        keep_open: bool,
    ) -> Outcome:
        await self.record.admit()
        with self.replay.calling(kind, title, key, meaning, former=former) as call:
            return await self._questions.outcome(call, ask, keep_open=keep_open)

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
        """Ask those who decide now, unless this was asked before; the request's id."""
        of_this_key: dict[str, Any] = {"key": key, "asked_since": asked_since}
        try:
            now = await in_database(resolve_terms, (self.orchestration, self.version), self.owner, terms)
        except InvalidRequest:
            # Those whom it was asked may be gone since: it keeps its deciders.
            outcome = await in_database(gate.on_record, kind, title, {**terms, **of_this_key})
            if outcome is None:
                raise
            return outcome.request_id
        open_ = gate.aopen_approval if kind is Kind.APPROVAL else gate.aopen_clarification
        return await open_(title, details=details, **now, **of_this_key)

    def _terms(self, assignees: Collection[Any] | None, timeout: float | timedelta | None) -> dict[str, Any]:
        """What is said of every question. Without `assignees`, these are looked up when it is opened."""
        if assignees is None or assignees is OWNER:
            # Nobody's name: a replay is not compared by who decides.
            named = "owner"
            people = (
                {} if assignees is None else {"assignees": REVIEWERS if self.owner is None else [self.owner]}
            )
        else:
            people = {"assignees": list(assignees) if isinstance(assignees, Iterator) else assignees}
            named = questions.named(people["assignees"])
        return {
            **people,
            "named": named,
            "timeout": timeout,
            "requester": self.owner,
            "origin": {"kind": "run", "id": str(self.id), "url": self.url},
        }

    # Time

    async def sleep(self, seconds: float | timedelta, *, key: str | None = None) -> None:
        """Sleep for so long, on the database's clock: zero or more, at most a hundred years.

        The end is on record. Restarts neither prolong nor shorten it, and while it sleeps the run holds no
        more than a timer entry. A replay that names another duration keeps to the recorded end.
        """
        if isinstance(seconds, timedelta):
            seconds = seconds.total_seconds()
        await self._sleep(cast("float", checked_seconds(seconds, "seconds", none_allowed=False)), key)

    async def sleep_until(self, moment: datetime, *, key: str | None = None) -> None:
        """As `sleep`, until this moment, which has a time zone; one that has passed returns at once."""
        if not isinstance(moment, datetime) or moment.utcoffset() is None:
            raise InvalidRequest("moment: must be a datetime with a time zone.", field="moment")
        await self._sleep(moment.astimezone(UTC), key)

    async def _sleep(self, until: datetime | float, key: str | None) -> None:
        await self.record.admit()
        with self.replay.calling("sleep", "sleep", key, None) as call:
            await self._sleeps.sleep(call, until)

    # Messages

    async def say(self, agent: str, text: str, *, key: str | None = None) -> None:
        """Leave a message on the run's record; its page shows it at once."""
        _check_speaker(agent)
        checked_text(text, "text", max_length=TEXT_LIMIT)
        await self.record.admit()
        with self.replay.calling("say", agent, key, text) as call:
            if await self.record.replay_call(call) is None:
                await self.record.write(
                    journal.record_message, call, agent, text, self.record.update_status()
                )
                self.replay.remember(call, StepStatus.DONE)

    @asynccontextmanager
    async def speaking(self, agent: str, *, key: str | None = None) -> AsyncIterator[MessageWriter]:
        """Say something bit by bit: `async with run.speaking("writer") as speak: await speak("a chunk")`.

        Where the record already has the whole message, `speak.text` has it too, and chunks are dropped.
        """
        _check_speaker(agent)
        await self.record.admit()
        with self.replay.calling("speak", agent, key, None) as call:
            recorded = await self.record.replay_call(call)
            if recorded is not None:
                yield MessageWriter(None, text=recorded.result)
                return
            message = await self.record.write(journal.begin_message, call, agent, self.record.update_status())
            self.replay.remember(call, StepStatus.STARTED)

        async def grow(text: str) -> None:
            await self.record.write(journal.extend_message, message, text)

        # Numbered by now, so other calls may be made while it speaks.
        speech = MessageWriter(grow)
        whole = False
        try:
            yield speech
            whole = True
        finally:
            await speech.close()
            await self.record.write(journal.end_message, call, message, speech.text, whole=whole)
            if whole:
                self.replay.remember(call, StepStatus.DONE, result=speech.text)

    # Deeds

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
        """Call `function`, record its result and return it; once recorded, it is never called again.

        Synchronous functions run in a thread. The result must be JSON. Where the function raises it is called
        up to `retries` times more, after pauses; what it raises at last is recorded too, and comes as
        StepFailed the first time and in every replay.

        Where the process dies while the step is under way, it may have had its effect or not. It is called
        again if `idempotent`, or if any of its `retries` are left; else the run's owner is asked, and may say
        that it was done, and with which result. Omitted, both are as the agent says whose step it is, by
        default 0 and False.
        """
        checked_text(name, "name", max_length=NAME_LIMIT, required=True, one_line=True)
        terms = retry_policy(retries, idempotent)
        deed = partial(function, *args, **kwargs)
        await self.record.admit()
        with self.replay.calling("step", name, key, [args, kwargs]) as call:
            return await self._steps.perform(call, deed, terms)

    async def _decision_about(self, call: Call, deed: partial[Any]) -> Outcome:
        """What a person says of an interrupted step. If that is to stop, the run is over."""
        with self.replay.within(call, "interrupted", call.attempt - 1) as question:
            outcome = await self._questions.outcome(question, partial(self._ask_about, call, deed))
            if interruptions.way_of(outcome) is Way.STOP:
                text = interruptions.how_it_stopped(call.name, outcome)
                # Not as answered: whoever resumes the run is asked again.
                await self.record.write(journal.record_step_failure, question, text)
                self.replay.end(Interrupted(text))
            return outcome

    async def _ask_about(
        self, call: Call, deed: partial[Any], *, key: str, asked_since: datetime | None
    ) -> str:
        begun = await in_database(journal.find_step, self.id, call.key)
        details = interruptions.details_for(
            call.name,
            deed,
            attempt=begun.attempts,
            begun_at=begun.started_at,
            begun_by=begun.begun_by,
            error=begun.error,
        )
        # Nothing may be decided by the clock here.
        terms = {"schema": interruptions.SCHEMA, **self._terms(None, None)}
        title = interruptions.title_for(call.name)
        return await self._open(Kind.CLARIFICATION, title, terms, details, key=key, asked_since=asked_since)

    async def take_up(self, claimed: Claimed) -> None:
        """Return if its code may be called; after its process died again and again, a person says so.

        For who executes the run, not for its code.
        """
        deaths = claimed.run.deaths
        if deaths < journal.DEATHS_LIMIT:
            return
        log.warning("run not taken up unasked run=%s deaths=%s", self.id, deaths)
        whole = Call(key="", position=None, kind="run", name=self.orchestration, fingerprint="")
        number = self.replay.next_within(whole, "interrupted")
        with self.replay.within(whole, "interrupted", number) as question:
            ask = partial(
                self._open,
                Kind.CLARIFICATION,
                interruptions.title_for_run(claimed.run.title, deaths),
                # Nothing may be decided by the clock here.
                {"choices": interruptions.CHOICES, **self._terms(None, None)},
                interruptions.details_for_run(claimed.records, deaths),
            )
            outcome = await self._questions.outcome(question, ask)
            if not interruptions.may_go_on(outcome):
                text = interruptions.how_the_run_stopped(deaths, outcome)
                await self.record.write(journal.record_step_failure, question, text)
                self.replay.end(Interrupted(text))

    # The plan, for people to follow

    @property
    def plan(self) -> Sequence[Mapping[str, Any]]:
        """The plan as shown: each step's id, title, agent, action, arguments, state, times, request, note."""
        return self._plan

    async def show_plan(self, steps: Sequence[Mapping[str, Any]]) -> None:
        """Show what is going to happen: a mapping with title, agent, action, arguments for each step."""
        await self.record.admit()
        self._plans_shown += 1
        if self._plans_shown <= self._plan_round:
            return  # a replay: this plan or a later one is shown already, and how far it got
        plan = [_plan_step(index, step) for index, step in enumerate(steps)]
        await self.record.write(journal.record_plan, self._plans_shown, plan)
        self._plan, self._plan_round = plan, self._plans_shown

    async def mark_step(
        self, index: int, state: StepState | str, note: str = "", *, request_id: str | None = None
    ) -> None:
        """Say where a step of the plan is. What is over stays over, unless a new plan is shown."""
        await self.record.admit()
        if self._plans_shown < self._plan_round:
            return  # a replay of an earlier plan
        step = self._plan[index]
        if step["state"] in OVER or (state == StepState.PENDING != step["state"]):
            return
        self._plan[index] = step | {
            "state": StepState(state).value,
            "note": checked_text(note, "note", max_length=TEXT_LIMIT) or step["note"],
            "request_id": request_id or step["request_id"],
        }
        self._plan = await self.record.write(journal.record_plan_step, self._plan, index)


def _check_speaker(agent: str) -> None:
    checked_text(agent, "agent", max_length=NAME_LIMIT, required=True, one_line=True)


def _because(outcome: Outcome) -> str:
    by = f" by {outcome.decided_by}" if outcome.decided_by else ""
    return f"{by}: {outcome.comment}" if outcome.comment else by


def _plain_choices(choices: Collection[str] | None) -> Any:
    """With their labels, which belong to what an answer means."""
    if choices is None:
        return None
    return dict(choices) if isinstance(choices, Mapping) else list(choices)


def _plan_step(index: int, step: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": index + 1,
        "title": checked_text(step.get("title") or step.get("action", ""), "title", max_length=TEXT_LIMIT),
        "agent": step.get("agent", ""),
        "action": step.get("action", ""),
        "arguments": checked_json(step.get("arguments", {}), "arguments", stable=False),
        "state": StepState.PENDING.value,
        "started_at": None,
        "finished_at": None,
        "request_id": None,
        "note": "",
    }
