"""The hub of runs: everyone who watches a run live, told from one reading for all of them.

A connection is told the run, then every message in order, then that the run is finished. A message that is
still being spoken, or is long, is told in chunks, each what was added; its end is told as the whole message
if that is not long. How far a connection has heard is kept with its seat, so hints that come twice or late
find nothing new, and a slow reader goes on where it stopped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import ClassVar
from uuid import UUID

from approvals.database.threads import in_database
from approvals.process.loops import PerLoop
from approvals.web.edge.credentials import Credential
from approvals.web.live.hubs import Hub, Seat
from approvals.web.live.outbox import Outbox
from approvals.web.live.protocol import Error, encode
from orchestration import queries
from orchestration.models import Message
from orchestration.web import readings
from orchestration.web.protocol import (
    AgentMessage,
    AgentMessageChunk,
    AgentMessageSummary,
    RunFinished,
    RunStatus,
)
from orchestration.web.readings import Place, ReadRun, Runs

UNKNOWN_RUN = 4404

# Characters that a frame carries of a message, each of which may take twelve bytes; and how many the end of a
# longer one repeats.
CHUNK = 16_384
BEGINNING = 200


class RunSeat(Seat):
    """One connection to one run. `heard` is the last message that it was told of; `growing` has those that
    were not over then, and how many characters of each it was told. `told`: the version of the run it has."""

    __slots__ = ("finished", "growing", "heard", "run_id", "told")

    def __init__(self, outbox: Outbox, credential: Credential, run_id: UUID) -> None:
        super().__init__(outbox, credential)
        self.run_id = run_id
        self.heard = 0
        self.growing: dict[int, int] = {}
        self.told: int | None = None
        self.finished = False

    @property
    def place(self) -> Place:
        return Place(
            credential=self.credential,
            run_id=self.run_id,
            heard=self.heard,
            growing=frozenset(self.growing),
        )


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
        read = await in_database(readings.runs, [seat.place for seat in seats])
        for seat in seats:
            if seat in self._seats and self._may_watch(seat, read):
                self._tell_seat(seat, read)

    def _may_watch(self, seat: RunSeat, read: Runs) -> bool:
        owner = read.owners.get(seat.credential)
        # Whom the second reading does not know has been deactivated since the first.
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
        understood = _tell_run(seat, run) and all(
            _tell_message(seat, message) for message in read.messages.get(seat.run_id, ())
        )
        if not understood:
            seat.outbox.when_drained(lambda: self.refresh([seat]))
        elif read.more:
            self.refresh([seat])
        elif run.finished and not seat.finished:
            seat.finished = seat.outbox.tell(encode(RunFinished(run=run.run)))


run_hub = PerLoop(RunHub)


def _tell_run(seat: RunSeat, run: ReadRun) -> bool:
    """False: the outbox is full."""
    if run.version != seat.told and not seat.outbox.tell(encode(RunStatus(run=run.run))):
        return False
    seat.told = run.version
    seat.finished = seat.finished and run.finished
    return True


def _tell_message(seat: RunSeat, message: Message) -> bool:
    """False: the outbox is full."""
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
    """Tell what was added, and keep how far that came. False: the outbox is full."""
    told = seat.growing.setdefault(message.pk, 0)
    while added := message.text[told : told + CHUNK]:
        if not seat.outbox.tell(encode(AgentMessageChunk(agent=message.agent, text=added))):
            return False
        told = seat.growing[message.pk] = told + len(added)
    return True


def _end(message: Message) -> AgentMessage:
    if len(message.text) > CHUNK:
        return AgentMessageSummary(agent=message.agent, text=message.text[:BEGINNING])
    return AgentMessage(agent=message.agent, text=message.text)
