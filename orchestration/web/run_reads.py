"""Read what the hub sends to its connections, for all of them at once. Synchronous, for database threads.

Credentials, users and permissions are read again each time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.db.models import Q

from approvals.queries import moment_on_the_wire
from approvals.web.edge.credentials import Credential, owners
from approvals.web.live.hubs import Seat
from approvals.web.live.protocol import LARGE, Json
from orchestration import queries
from orchestration.models import FINISHED, Message, Run

# More are read in the next round.
MESSAGES_AT_ONCE = 100


@dataclass(slots=True, eq=False)
class RunSeat(Seat):
    """One connection to one run, and what it was sent.

    `heard`: the last message, at first the last that it asks to leave out; `growing`: messages that were not
    complete, with the number of characters sent; `told`: the version of the run; `recorded_at`: when its
    record changed.
    """

    run_id: UUID
    heard: int = 0
    growing: dict[int, int] = field(default_factory=dict, init=False)
    told: int | None = field(default=None, init=False)
    recorded_at: str | None = field(default=None, init=False)
    finished: bool = field(default=False, init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRun:
    """A run as JSON; `version` changes whenever anything in it does."""

    run: Json
    version: int
    recorded_at: str | None
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """What was read. `more`: there are more messages than were read."""

    owners: Mapping[Credential, int]
    visible: Mapping[int, Collection[UUID]]
    runs: Mapping[UUID, ReadRun]
    messages: Mapping[UUID, Sequence[Message]]
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class States:
    """The states of runs, and who may see them now."""

    owners: Mapping[Credential, int]
    visible: Mapping[int, set[UUID]]
    states: Mapping[UUID, str]


def states(credentials: Collection[Credential], run_ids: Collection[UUID]) -> States:
    """Read the states of these runs, for the users of these credentials."""
    found = dict(Run.objects.filter(pk__in=run_ids).values_list("pk", "status"))
    present = owners(credentials)
    visible = queries.visible_run_ids(set(present.values()), found.keys())
    return States(owners=present, visible=visible, states=found)


def runs(seats: Sequence[RunSeat]) -> Runs:
    """Read what is new to these seats, which do not change meanwhile."""
    run_ids = {seat.run_id for seat in seats}
    # The runs before the messages, so that all messages of a finished run are found.
    found = queries.runs_by_id(run_ids)
    messages = _messages(seats)
    # Permissions last: who has lost them gets nothing that was said after that.
    present = owners({seat.credential for seat in seats})
    visible = queries.visible_run_ids(set(present.values()), run_ids)
    return Runs(
        owners=present,
        visible=visible,
        runs={run.pk: _read(run) for run in found},
        messages=_by_run(messages),
        more=len(messages) == MESSAGES_AT_ONCE,
    )


def _read(run: Run) -> ReadRun:
    whole = Json.of(queries.run_on_the_wire(run))
    fits = len(whole) <= LARGE
    return ReadRun(
        run=whole if fits else Json.of(queries.run_summary_on_the_wire(run)),
        version=hash(whole),
        recorded_at=moment_on_the_wire(run.recorded_at),
        finished=run.status in FINISHED,
    )


def _messages(seats: Sequence[RunSeat]) -> list[Message]:
    """Read the first messages that are new to any of these seats, in one query."""
    heard: dict[UUID, int] = {}
    wanted = Q(pk__in={message_id for seat in seats for message_id in seat.growing})
    for seat in seats:
        heard[seat.run_id] = min(seat.heard, heard.get(seat.run_id, seat.heard))
    for run_id, last in heard.items():
        wanted |= Q(run_id=run_id, pk__gt=last)
    return list(Message.objects.filter(wanted).order_by("pk")[:MESSAGES_AT_ONCE]) if seats else []


def _by_run(messages: Sequence[Message]) -> Mapping[UUID, Sequence[Message]]:
    by_run: defaultdict[UUID, list[Message]] = defaultdict(list)
    for message in messages:
        by_run[message.run_id].append(message)
    return by_run
