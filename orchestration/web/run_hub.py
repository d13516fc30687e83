"""Send runs to all WebSockets of this process that watch them, with one read for all.

A connection is sent the run, then all messages in order, then that the run is finished. A message that still
grows, or is long, is sent in chunks, each with what was added; at its end the whole message is sent, if it is
not long. A seat keeps how far its connection has come, so repeated or late hints find nothing new, and a slow
reader goes on where it stopped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import ClassVar
from uuid import UUID

from approvals.database.threads import in_database
from approvals.process.loops import PerLoop
from approvals.web.live.hubs import Hub
from approvals.web.live.protocol import Error, Json, ServerMessage, encode
from orchestration import queries
from orchestration.models import Message
from orchestration.web import run_reads
from orchestration.web.run_reads import ReadRun, Runs, RunSeat

UNKNOWN_RUN = 4404

# Characters of a message in one frame, each of which may take twelve bytes; and how many characters of a
# longer message are repeated at its end.
CHUNK = 16_384
BEGINNING = 200


class RunStatus(ServerMessage, type="run_status"):
    """The run as it is now."""

    run: Json


class RunRecorded(ServerMessage, type="run_recorded"):
    """A step, sleep or request of the run was recorded at this moment; the run itself is as it was told."""

    at: str


class AgentMessage(ServerMessage, type="agent_message"):
    """A whole message. It ends the message that the chunks of this id have begun, if any."""

    id: int
    agent: str
    text: str


class AgentMessageSummary(AgentMessage, type=AgentMessage.type):
    """The end of a long message whose chunks were all sent; `text` is its beginning."""

    summary: bool = True


class AgentMessageChunk(ServerMessage, type="agent_message_chunk"):
    """Text that was added to the agent's growing message."""

    id: int
    agent: str
    text: str


class RunFinished(ServerMessage, type="run_finished"):
    """The run has ended, and all its messages have been sent."""

    run: Json


class RunHub(Hub[RunSeat]):
    topic: ClassVar[str] = "runs"
    refreshed_at_once: ClassVar[int] = 100

    def __init__(self) -> None:
        super().__init__()
        self._watching: defaultdict[UUID, set[RunSeat]] = defaultdict(set)

    def join(self, seat: RunSeat) -> None:
        self._watching[seat.run_id].add(seat)
        super().join(seat)

    def _forget(self, seat: RunSeat) -> None:
        self._watching[seat.run_id].discard(seat)
        if not self._watching[seat.run_id]:
            del self._watching[seat.run_id]

    async def _tell_of(self, ids: frozenset[UUID]) -> None:
        self.refresh(seat for run_id in ids for seat in self._watching.get(run_id, ()))

    async def _check(self, seats: Sequence[RunSeat]) -> None:
        self.refresh(seats)

    async def _tell(self, seats: Sequence[RunSeat]) -> None:
        read = await in_database(run_reads.runs, seats)
        for seat in seats:
            if seat in self._seats and self._may_watch(seat, read):
                self._tell_seat(seat, read)

    def _may_watch(self, seat: RunSeat, read: Runs) -> bool:
        owner = read.owners.get(seat.credential)
        # An owner who is not among the visible ones was deactivated between the two queries.
        if owner is None or owner not in read.visible or not seat.holds(owner):
            self._expel(seat)
            return False
        seat.user_id = owner
        if seat.run_id in read.runs and seat.run_id in read.visible.get(owner, ()):
            return True
        unknown = queries.unknown_run(seat.run_id)
        seat.outbox.answer(encode(Error(code=unknown.code, detail=unknown.detail, field="run_id")))
        self._expel(seat, UNKNOWN_RUN)
        return False

    def _tell_seat(self, seat: RunSeat, read: Runs) -> None:
        run = read.runs[seat.run_id]
        complete = _tell_run(seat, run) and all(
            _tell_message(seat, message) for message in read.messages.get(seat.run_id, ())
        )
        if not complete:
            seat.outbox.when_drained(lambda: self.refresh([seat]))
        elif read.more:
            self.refresh([seat])
        elif run.finished and not seat.finished:
            seat.finished = seat.outbox.tell(encode(RunFinished(run=run.run)))


# The process's hub, on the running event loop.
run_hub = PerLoop(RunHub)


def _tell_run(seat: RunSeat, run: ReadRun) -> bool:
    """Send the run if it has changed, or that its record has; return False if the outbox is full."""
    news: list[ServerMessage] = []
    if run.version != seat.told:
        news = [RunStatus(run=run.run)]
    elif run.recorded_at is not None and run.recorded_at != seat.recorded_at:
        news = [RunRecorded(at=run.recorded_at)]
    if news and not seat.outbox.tell(*map(encode, news)):
        return False
    seat.told, seat.recorded_at = run.version, run.recorded_at
    seat.finished = seat.finished and run.finished
    return True


def _tell_message(seat: RunSeat, message: Message) -> bool:
    """Send what is new of the message; return False if the outbox is full."""
    if message.pk <= seat.heard and message.pk not in seat.growing:
        return True
    if (not message.complete or len(message.text) > CHUNK) and not _tell_chunks(seat, message):
        return False
    if message.complete:
        if not seat.outbox.tell(encode(_end(message))):
            return False
        seat.growing.pop(message.pk, None)
    seat.heard = max(seat.heard, message.pk)
    return True


def _tell_chunks(seat: RunSeat, message: Message) -> bool:
    """Send what was added, in chunks; return False if the outbox is full."""
    told = seat.growing.setdefault(message.pk, 0)
    while added := message.text[told : told + CHUNK]:
        if not seat.outbox.tell(encode(AgentMessageChunk(id=message.pk, agent=message.agent, text=added))):
            return False
        told = seat.growing[message.pk] = told + len(added)
    return True


def _end(message: Message) -> AgentMessage:
    if len(message.text) > CHUNK:
        return AgentMessageSummary(id=message.pk, agent=message.agent, text=message.text[:BEGINNING])
    return AgentMessage(id=message.pk, agent=message.agent, text=message.text)
