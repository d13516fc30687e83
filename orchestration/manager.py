"""Start, resume, cancel and watch runs, from any process.

Starting and cancelling write a row and send a hint; the process that executes the run does the rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from contextvars import copy_context
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async

from approvals import queries as approvals_queries
from approvals.database.threads import LOST, in_database
from approvals.database.transactions import arefuse_inside_a_transaction, is_run_inside_a_transaction
from approvals.domain.commands import Actor
from approvals.domain.payloads import check_text
from approvals.exceptions import Busy, InvalidRequest, Unavailable
from approvals.process import hints
from approvals.waiting.waiting_room import waiting_room
from orchestration import queries
from orchestration.catalog import find_orchestration
from orchestration.engines import hand_over
from orchestration.engines.hosts import Host
from orchestration.exceptions import AlreadyFinished, InvalidInput, NotPermitted
from orchestration.models import FINISHED, OPEN, Run, RunStatus
from orchestration.runs import journal, run_records
from orchestration.runs.execution import withdraw_requests
from orchestration.runs.manual_resumption import (
    RESUMABLE,
    Resumption,
    hide_unseen_titles,
    is_resumable,
    resumption_of,
)

log = logging.getLogger(__name__)

KEY_LIMIT = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """A change of a run, with the type and data that its WebSocket sends."""

    type: str
    data: dict[str, Any]


def start(
    name: str,
    input: Any = None,  # noqa: A002 - what people call it
    *,
    owner: Any = None,
    key: str | None = None,
) -> UUID:
    """Start a run from a view, a task or a signal, for servers or workers to execute; return its id.

    Inside `atomic` it is part of that transaction: it begins when that is committed, and never if that is
    rolled back. `owner` is a user or a user's id. The same owner and key return the same run. Raises as
    `OrchestrationManager.start`, at once.
    """
    return OrchestrationManager().start(name, input, owner, key=key)


async def astart(
    name: str,
    input: Any = None,  # noqa: A002 - what people call it
    *,
    owner: Any = None,
    key: str | None = None,
) -> UUID:
    """Start a run as `start`, from a coroutine; also inside of a transaction of who runs it."""
    queue = partial(start, name, input, owner=owner, key=key)
    if await is_run_inside_a_transaction():
        return await sync_to_async(queue)()  # on the thread that has the transaction
    return await in_database(copy_context().run, queue)


class OrchestrationManager:
    """Manages runs. With a host that executes runs, those that it starts belong to this process."""

    def __init__(self, host: Host | None = None) -> None:
        self._host = host

    def start(
        self,
        name: str,
        input: Any = None,  # noqa: A002 - what people call it
        owner: Any = None,
        *,
        key: str | None = None,
        version: int | None = None,
        actor: Actor | None = None,
    ) -> UUID:
        """Queue a run for the servers and return its id; the same owner and key return the same run.

        `version` omitted: the newest that is registered here. `actor` is on record as who started it, and
        how; omitted: a program. Raises UnknownOrchestration, InvalidInput
        (which names the field and the known fields) and KeyConflict; then nothing was started.
        """
        return self.start_once(name, input, owner, key=key, version=version, actor=actor)[0]

    def start_once(
        self,
        name: str,
        input: Any = None,  # noqa: A002 - what people call it
        owner: Any = None,
        *,
        key: str | None = None,
        version: int | None = None,
        actor: Actor | None = None,
    ) -> tuple[UUID, bool]:
        """Queue a run like `start`; return its id and whether it is new, not found by its key."""
        return _queue(name, input, owner, key=key, version=version, actor=actor)

    async def astart(
        self,
        name: str,
        input: Any = None,  # noqa: A002 - what people call it
        owner: Any = None,
        *,
        key: str | None = None,
        version: int | None = None,
        actor: Actor | None = None,
    ) -> UUID:
        """Queue a run like `start`; with a host that executes runs, it begins in this process at once.

        Not inside a transaction, since a rollback could not take it back.
        """
        await arefuse_inside_a_transaction()
        process_id = None if self._host is None else self._host.process_id
        of_this_process = partial(_queue, process_id=process_id)
        queue = partial(of_this_process, name, input, owner, key=key, version=version, actor=actor)
        # In its context, which says whether allow-lists apply.
        run_id, _ = await in_database(copy_context().run, queue)
        if self._host is not None:
            await self._host.execute([run_id])
        return run_id

    def resume(self, actor: Actor, run_id: UUID | str) -> None:
        """Let a failed or rejected run go on from its record.

        Completed calls are not repeated; calls that ended badly are asked or tried again: `resumption` says
        which. An open run is only announced to the servers. Raises AlreadyFinished, NotPermitted and
        UnknownRun.
        """
        run = _find_changeable_run(actor, run_id)
        if run.status in OPEN:
            hints.send(journal.TOPIC, [run.pk])
            return
        _check_resumable(run)
        if run.leaves_requests:  # its process may have died before it did this
            withdraw_requests(run.pk)
        run_records.requeue(run.pk, actor.user_id, hand_over)
        log.info("run resumed run=%s user=%s", run.pk, actor.user_id)

    def resumption(self, actor: Actor, run_id: UUID | str) -> Resumption:
        """Return what `resume` would repeat, for those who may resume the run; raises as that does.

        Questions that the actor may not see have no title.
        """
        run = _find_changeable_run(actor, run_id)
        if run.status in OPEN:
            return resumption_of("", [])
        _check_resumable(run)
        found = resumption_of(run.reason, queries.steps_of(run))
        return found if actor.user_id is None else hide_unseen_titles(found, actor.user_id)

    async def aresume(self, actor: Actor, run_id: UUID | str) -> None:
        """Resume like `resume`; not inside a transaction."""
        await arefuse_inside_a_transaction()
        await in_database(self.resume, actor, run_id)

    def cancel(self, actor: Actor, run_id: UUID | str) -> bool:
        """End the run and withdraw its open requests; return False if it had ended before.

        The process that executes it stops it soon; if none does, it has ended when this returns. Raises
        NotPermitted and UnknownRun.
        """
        run = _find_changeable_run(actor, run_id)
        if run.status not in OPEN:
            return False
        run_records.request_cancel(run.pk, actor)
        try:
            # Now, not when its process has stopped it: from now on that can record no answer.
            withdraw_requests(run.pk)
        except (Busy, Unavailable) as error:  # they are withdrawn when the run has ended
            log.warning("requests of a cancelled run not withdrawn yet run=%s error=%s", run.pk, error)
        return True

    async def acancel(self, actor: Actor, run_id: UUID | str) -> bool:
        """Cancel like `cancel`; not inside a transaction."""
        await arefuse_inside_a_transaction()
        return await in_database(self.cancel, actor, run_id)

    async def watch(self, run_id: UUID | str) -> AsyncGenerator[RunEvent]:
        """Yield the run's state, messages and requests, then all changes; end after `run_finished`."""
        run_id = queries.parse_run_id(run_id)
        room = waiting_room()
        room.set_topic_source(journal.TOPIC, queries.runs_changed_since)
        room.ensure_running()
        watcher = _Watcher(run_id)
        room.follow(journal.TOPIC, watcher)
        try:
            seen = _Progress(run_id)
            while not seen.finished:
                read = partial(in_database, _read, seen)
                seen, events = await journal.try_until_done(read, LOST, log, "run not read")
                for event in events:
                    yield event
                if not seen.finished:
                    await watcher.wait_for_change()
        finally:
            room.unfollow(journal.TOPIC, watcher)


def _read(seen: _Progress) -> tuple[_Progress, list[RunEvent]]:
    """Read on a copy: after an error, nothing may count as told."""
    told = deepcopy(seen)
    return told, told.read_news()


class _Watcher:
    """Wakes one call of `watch` when its run has changed."""

    def __init__(self, run_id: UUID) -> None:
        self._run_id = run_id
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    async def wait_for_change(self) -> None:
        await self._event.wait()
        self._event.clear()

    async def look(self, ids: frozenset[UUID]) -> None:
        if self._run_id in ids:
            await self.look_everywhere()

    async def look_everywhere(self) -> None:
        # The room's loop may be another thread's.
        self._loop.call_soon_threadsafe(self._event.set)


class _Progress:
    """What a watcher has been told; `read_news` reads the rest."""

    def __init__(self, run_id: UUID) -> None:
        self.finished = False
        self._run_id = run_id
        self._run: dict[str, Any] | None = None
        self._opened: set[UUID] = set()
        self._closed: set[UUID] = set()
        # Messages up to this id were told in full; of later ones, as many characters as `_lengths` says.
        self._told = 0
        self._lengths: dict[int, int] = {}

    def read_news(self) -> list[RunEvent]:
        run = queries.run_by_id(self._run_id)
        # In the order in which it happened; messages come before the end of the run.
        happened = sorted([*self._messages(), *self._requests()], key=lambda each: each[0])
        events = [event for _, event in happened] + self._status(run)
        if run.status not in OPEN:
            self.finished = True
            events.append(RunEvent(type="run_finished", data={"run": queries.run_on_the_wire(run)}))
        return events

    def _status(self, run: Run) -> list[RunEvent]:
        state = queries.run_on_the_wire(run)
        if state == self._run:
            return []
        self._run = state
        return [RunEvent(type="run_status", data={"run": state})]

    def _requests(self) -> Iterator[tuple[datetime, RunEvent]]:
        asked = [each for each in queries.request_ids_of(self._run_id) if each not in self._closed]
        for request in approvals_queries.requests_by_id(asked) if asked else ():
            data = {"request": approvals_queries.on_the_wire(request)}
            if request.pk not in self._opened:
                self._opened.add(request.pk)
                yield request.opened_at, RunEvent(type="request_opened", data=data)
            outcome = approvals_queries.outcome_of(request)
            if request.closed_at is not None:
                self._closed.add(request.pk)
                data = data | {"outcome": approvals_queries.outcome_on_the_wire(outcome)}
                yield request.closed_at, RunEvent(type="request_closed", data=data)

    def _messages(self) -> Iterator[tuple[datetime, RunEvent]]:
        messages = queries.messages_of(self._run_id, after=self._told)
        for message in messages:
            known = self._lengths.get(message.pk)
            new = message.text[known or 0 :]
            self._lengths[message.pk] = len(message.text)
            if new:
                whole = known is None and message.complete
                data = {"id": message.pk, "agent": message.agent, "text": new}
                kind = "agent_message" if whole else "agent_message_chunk"
                yield message.said_at, RunEvent(type=kind, data=data)
        growing = [message.pk for message in messages if not message.complete]
        if messages:
            self._told = growing[0] - 1 if growing else messages[-1].pk


def _queue(
    name: str,
    given: Any,
    owner: Any,
    *,
    key: str | None,
    version: int | None,
    actor: Actor | None = None,
    process_id: UUID | None = None,
) -> tuple[UUID, bool]:
    orchestration = find_orchestration(name, version)
    owner_id = getattr(owner, "pk", owner)
    try:
        key = check_text(key or "", "key", max_length=KEY_LIMIT, one_line=True)
    except InvalidRequest as error:
        raise InvalidInput(error.detail, field=error.field) from error
    # An input that is on record was accepted, even if the rules about numbers have changed.
    given = orchestration.check_input(given, stable=not run_records.has_key(owner_id, key))
    return run_records.open_run(
        orchestration=name,
        version=orchestration.version,
        title=orchestration.title_of(given),
        given=given,
        owner_id=owner_id,
        key=key,
        process_id=process_id,
        hand_over=hand_over,
        actor=actor,
    )


def require_cancelled(run: Run) -> None:
    """Raise AlreadyFinished if the run has ended, and not by being cancelled."""
    if run.status in FINISHED and run.status != RunStatus.CANCELLED:
        raise AlreadyFinished(f"The run is {run.status}, so it can't be cancelled.")


def _check_resumable(run: Run) -> None:
    if run.status not in RESUMABLE:
        raise AlreadyFinished(f"The run is {run.status}; only a failed or rejected run can be resumed.")
    if not is_resumable(run):
        raise AlreadyFinished("The run's content has been removed, so it can't be resumed.")


def _find_changeable_run(actor: Actor, run_id: UUID | str) -> Run:
    """Return the run if the actor may change it; an actor without a user is the installation's own code."""
    if actor.user_id is None:
        return queries.run_by_id(run_id)
    run = queries.run_for(actor.user_id, run_id)
    if not queries.may_change(actor.user_id, run):
        raise NotPermitted("Only the run's owner, or somebody who may change all runs, can do this.")
    return run
