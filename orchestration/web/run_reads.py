"""Read what the hub sends to its connections, for all of them at once. Synchronous, for database threads.

Credentials, users and permissions are read again each time.
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

# More are read in the next round.
MESSAGES_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far one connection has come: its last message, and the messages that still grow for it."""

    credential: Credential
    run_id: UUID
    heard: int
    growing: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRun:
    """A run as JSON; `version` changes whenever anything in it does."""

    run: Json
    version: int
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """What was read. `more`: there are more messages than were read."""

    owners: Mapping[Credential, int]
    visible: Mapping[int, Collection[UUID]]
    runs: Mapping[UUID, ReadRun]
    messages: Mapping[UUID, Sequence[Message]]
    more: bool


def runs(places: Sequence[Place]) -> Runs:
    """Read what is new to these connections; of a finished run, all messages are found."""
    run_ids = {place.run_id for place in places}
    # The runs before the messages, so that all messages of a finished run are found.
    found = queries.runs_by_id(run_ids)
    messages = _messages(places)
    # Permissions last: who has lost them gets nothing that was said after that.
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
    """Read the first messages that are new to any of these connections, in one query."""
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
