"""What the hub of runs reads: sets in, sets out. Synchronous, for the database threads.

Credentials, users and rights are looked up afresh in every reading.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q

from approvals.web.edge.credentials import Credential, owners
from approvals.web.live.protocol import Json
from approvals.web.live.summaries import LARGE
from orchestration import queries
from orchestration.models import FINISHED, Message, Run

# A long run is told in pieces.
MESSAGES_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far one connection has heard a run: up to a message, and of which ones it waits for the end."""

    credential: Credential
    run_id: UUID
    heard: int
    growing: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRun:
    """A run as a frame carries it. `version` differs whenever anything of it does."""

    run: Json
    version: int
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """`more`: there are further messages than were read."""

    owners: Mapping[Credential, int]
    visible: Mapping[int, Collection[UUID]]
    runs: Mapping[UUID, ReadRun]
    messages: Mapping[UUID, Sequence[Message]]
    more: bool


def runs(places: Sequence[Place]) -> Runs:
    """What these connections have not heard yet. Where a run is finished, its last message was read too."""
    run_ids = {place.run_id for place in places}
    # The runs before the messages: whatever was said before a run was finished is found.
    found = queries.runs_by_id(run_ids)
    messages = _messages(places)
    # Rights at last: whoever has lost them is not told what was said after that.
    present = owners({place.credential for place in places})
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
        finished=run.status in FINISHED,
    )


def _messages(places: Sequence[Place]) -> list[Message]:
    """The first messages that one of these connections has not heard to the end; one query."""
    heard: dict[UUID, int] = {}
    wanted = Q(pk__in={message_id for place in places for message_id in place.growing})
    for place in places:
        heard[place.run_id] = min(place.heard, heard.get(place.run_id, place.heard))
    for run_id, last in heard.items():
        wanted |= Q(run_id=run_id, pk__gt=last)
    return list(Message.objects.filter(wanted).order_by("pk")[:MESSAGES_AT_ONCE]) if places else []


def _by_run(messages: Sequence[Message]) -> Mapping[UUID, Sequence[Message]]:
    by_run: defaultdict[UUID, list[Message]] = defaultdict(list)
    for message in messages:
        by_run[message.run_id].append(message)
    return by_run
