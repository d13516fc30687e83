"""The inbox hub: the live lists of pending requests, all from one reading.

What a connection was sent, snapshot and events together, always equals a fresh snapshot:
- A hint names requests. One reading finds their state and who may see them now; each seat is sent the
  difference to what it shows. Hints that come twice, late or in another order find no difference.
- A request that may not be seen any more, or rights that have changed, make a fresh snapshot due: the
  protocol has no other message for it. So do events that a slow reader had no room for.
- Who begins or ceases to stand for somebody gets a fresh snapshot at that moment (standing.py).
- The request whose page is open may have left the list, or never have been in it: its changes are told to
  those who have said that they look at it.
- A snapshot shows the first 200 requests of the inbox. A seat whose snapshot was cut there gets a fresh one
  when the cut moves.
- A snapshot comes in parts, each sent once the part before is; nobody keeps the others meanwhile. Before each
  part the inbox is listed anew, so that the last one completes what then is a fresh snapshot.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import accumulate
from typing import Any, ClassVar
from uuid import UUID

from approvals.conf import approval_settings
from approvals.database.threads import in_database
from approvals.exceptions import RateLimited
from approvals.process.loops import PerLoop
from approvals.queries.delegations import delegations_changed_since
from approvals.queries.permissions import Person
from approvals.waiting.waiting_room import WaitingRoom
from approvals.web.edge.credentials import Credential
from approvals.web.live import inbox_reads, protocol
from approvals.web.live.hubs import CHECK_INTERVAL, SEATS_BETWEEN_TURNS, Hub, Seat
from approvals.web.live.inbox_reads import Attendance, Inbox, Inboxes, Item, News, Place, weight_of
from approvals.web.live.protocol import FRAME_BUDGET, Json, ServerMessage, encode
from approvals.web.live.send_queue import TOO_MUCH
from approvals.web.live.standing import Standing
from approvals.writer.delegations import TOPIC


@dataclass(slots=True, eq=False)
class InboxSeat(Seat):
    """One connection's list: the whole inbox, or the requests of one origin.

    `shown` are the ids and versions it was sent; None while a snapshot is due, and no events are sent.
    `partial`: more parts of the snapshot follow. `end` is the place of the last request, if the list was cut
    there. `looks_at` is the request whose page is open there, `seen` the last version of it that was read.
    `person` is the user with the rights that the list was made for; None: they may have changed, and
    the next reading replaces the list. `greeted` is called once, after hello and the first snapshot.
    """

    origin_id: str | None = None
    greeted: Callable[[], None] | None = None
    person: Person | None = field(default=None, init=False)
    shown: dict[UUID, datetime] | None = field(default=None, init=False)
    partial: bool = field(default=False, init=False)
    end: Place | None = field(default=None, init=False)
    looks_at: UUID | None = field(default=None, init=False)
    seen: datetime | None = field(default=None, init=False)

    def reaches(self, item: Item) -> bool:
        """Whether a pending request that its user may see belongs to this list."""
        if self.origin_id is not None and item.origin_id != self.origin_id:
            return False
        return self.end is None or item.place <= self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The next part of a snapshot: the first `lacking` rows. `anew`: the snapshot begins with it."""

    seat: InboxSeat
    person: Person
    inbox: Inbox
    lacking: Sequence[Any]
    anew: bool

    @property
    def next(self) -> Sequence[Any]:
        """About as many rows as fit a frame, at least one."""
        weights = accumulate(map(weight_of, self.lacking))
        fitting = [row for row, weight in zip(self.lacking, weights, strict=True) if weight <= FRAME_BUDGET]
        return fitting or self.lacking[:1]


class InboxHub(Hub[InboxSeat]):
    topic: ClassVar[str] = "requests"
    refreshed_at_once: ClassVar[int] = 32

    def __init__(self) -> None:
        super().__init__()
        self._seats_of: defaultdict[int, set[InboxSeat]] = defaultdict(set)
        self._credentials_of: dict[int, frozenset[Credential]] = {}
        self._superusers: set[int] = set()  # of the connected, as of the last reading of their rights
        self._showing: defaultdict[UUID, set[InboxSeat]] = defaultdict(set)
        self._looking: defaultdict[UUID, set[InboxSeat]] = defaultdict(set)
        self._standing = Standing(self.loop, self.ring, reach=2 * CHECK_INTERVAL)

    # For connections

    def look_at(self, seat: InboxSeat, request_id: UUID | None) -> None:
        """Note whose page is open at this seat, and tell it what has changed since that was loaded."""
        if seat not in self._seats:
            return
        self._look_away(seat)
        if request_id is not None:
            seat.looks_at = request_id
            self._looking[request_id].add(seat)
            if request_id not in (seat.shown or {}):
                self._hint([request_id])

    def _look_away(self, seat: InboxSeat) -> None:
        if seat.looks_at is not None:
            self._looking[seat.looks_at].discard(seat)
            if not self._looking[seat.looks_at]:
                del self._looking[seat.looks_at]
        seat.looks_at = seat.seen = None

    # Who stands for whom

    def _follow(self, room: WaitingRoom) -> None:
        super()._follow(room)
        room.set_topic_source(TOPIC, delegations_changed_since)
        room.follow(TOPIC, self._standing)
        self._standing.begin()

    def _unfollow(self, room: WaitingRoom) -> None:
        super()._unfollow(room)
        room.unfollow(TOPIC, self._standing)
        self._standing.end()

    async def _do_next(self) -> bool:
        if not self._standing.due:
            return await super()._do_next()
        with self._database.watch():
            changed = await self._standing.changed()
        self._doubtful.update((seat, None) for user_id in changed for seat in self._seats_of.get(user_id, ()))
        return True

    def _check_some(self) -> None:
        if not self._not_yet_checked:
            self._standing.look_soon()
        super()._check_some()

    # All that a seat shows

    async def _tell(self, seats: Sequence[InboxSeat]) -> None:
        read = await in_database(inbox_reads.inboxes, [(seat.credential, seat.origin_id) for seat in seats])
        parts = [part for seat in seats if (part := self._due_of(seat, read)) is not None]
        if parts:
            wanted = {row.pk: row for part in parts for row in part.next}
            items = await in_database(inbox_reads.items, wanted.values()) if wanted else {}
            frames = _Frames()
            for part in parts:
                if part.seat in self._seats:
                    self._send(part, items, frames)

    def _due_of(self, seat: InboxSeat, read: Inboxes) -> _Part | None:
        """Return the part of a snapshot that this seat is to be sent, if any; greet a new user before."""
        if seat not in self._seats:
            return None
        owner = read.attendance.owners.get(seat.credential)
        if owner is None or not seat.holds(owner):
            self._expel(seat)
            return None
        person = read.attendance.people[owner]
        if seat.user_id is None:
            most = approval_settings().sockets_per_user
            if most and len(self._seats_of.get(person.id, ())) >= most:
                self._turn_away(seat, most)
                return None
            self._greet(seat, person, read.server_time)
        self._note_superuser(person)
        return self._part_of(seat, person, read.inboxes[owner, seat.origin_id])

    def _part_of(self, seat: InboxSeat, person: Person, inbox: Inbox) -> _Part | None:
        part = partial(_Part, seat=seat, person=person, inbox=inbox)
        if seat.shown is None or (seat.person != person and seat.partial):
            return part(lacking=inbox.rows, anew=True)
        if seat.partial:
            lacking = [row for row in inbox.rows if row.pk not in seat.shown]
            return part(lacking=lacking, anew=False)
        if seat.shown == inbox.versions:
            seat.person, seat.end = person, inbox.end
        elif seat.person != person or inbox.cut or seat.end:
            return part(lacking=inbox.rows, anew=True)
        else:
            self._catch_up(seat.shown, inbox)
        return None

    def _turn_away(self, seat: InboxSeat, most: int) -> None:
        """Close the connection of a person who has as many to this process as one may have."""
        error = RateLimited(f"You have {most} connections open, which is the most allowed: close one.")
        seat.outbox.tell(encode(protocol.refusal(error)))
        self._expel(seat, TOO_MUCH)

    def _greet(self, seat: InboxSeat, person: Person, server_time: str | None) -> None:
        seat.user_id = person.id
        self._seats_of[person.id].add(seat)
        self._note_credentials(person.id)
        seat.outbox.tell(encode(protocol.Hello(user=person.username, server_time=server_time)))

    def _send(self, part: _Part, items: Mapping[UUID, Item], frames: _Frames) -> None:
        seat, sent = part.seat, _fitting(items[row.pk] for row in part.next)
        more = len(sent) < len(part.lacking)
        # One that breaks off is ended first: what follows would be taken for its next part.
        ending = [frames.snapshot([], more=False)] if part.anew and seat.partial else []
        if not seat.outbox.tell(*ending, frames.snapshot(sent, more=more)):
            if part.anew:
                self._owe_a_snapshot(seat)
            else:
                seat.outbox.when_drained(partial(self.refresh, [seat]))
            return
        before = {} if part.anew or seat.shown is None else seat.shown
        self._remember(seat, before | {item.id: item.version for item in sent})
        seat.person, seat.end, seat.partial = part.person, part.inbox.end, more
        if more:
            seat.outbox.when_drained(partial(self.refresh, [seat]))
            return
        if seat.shown != part.inbox.versions:
            self.refresh([seat])
        if seat.greeted:
            seat.greeted()
            seat.greeted = None

    def _catch_up(self, shown: Mapping[UUID, datetime], inbox: Inbox) -> None:
        """Have what differs read next, and sent as events."""
        listed = inbox.versions
        self._hint(id_ for id_ in shown.keys() | listed.keys() if shown.get(id_) != listed.get(id_))

    # Events

    async def _tell_of(self, ids: frozenset[UUID]) -> None:
        there = ids & (self._showing.keys() | self._looking.keys())
        shown_to = {id_: self._users_shown(id_) for id_ in there}
        superusers = frozenset(self._superusers)
        news = await in_database(inbox_reads.news, ids, shown_to, superusers, self._credentials_of_user)
        frames = _Frames()
        seats = [seat for user_id in news.concerned for seat in self._seats_of.get(user_id, ())]
        for turn, seat in enumerate(seats, start=1):
            if self._still_holds(seat, news.attendance):
                self._tell_seat(seat, ids, news, frames)
            if turn % SEATS_BETWEEN_TURNS == 0:
                await asyncio.sleep(0)

    def _tell_seat(self, seat: InboxSeat, ids: frozenset[UUID], news: News, frames: _Frames) -> None:
        if seat.shown is None or seat.user_id is None:
            return
        visible = news.visible[seat.user_id]
        if seat.shown.keys() & ids - visible:
            self._make_snapshot_due(seat)
        items = [news.items[id_] for id_ in sorted(visible)]
        events = [self._event(seat, seat.shown, item, frames) for item in items]
        told = [event for event in events if event is not None]
        if told and not seat.outbox.tell(*told):
            self._owe_a_snapshot(seat)

    def _event(self, seat: InboxSeat, shown: dict[UUID, datetime], item: Item, frames: _Frames) -> str | None:
        """Return the frame that tells this connection of the request; None: there is nothing to tell."""
        event = self._difference(seat, shown, item, frames)
        if item.id != seat.looks_at:
            return event
        before, seat.seen = seat.seen, item.version
        if event is not None or item.id in shown or before == item.version:
            return event
        if item.outcome is not None:
            return frames.event(protocol.RequestClosed, item, outcome=item.outcome)
        return None if seat.reaches(item) else frames.event(protocol.RequestUpdated, item)

    def _difference(
        self, seat: InboxSeat, shown: dict[UUID, datetime], item: Item, frames: _Frames
    ) -> str | None:
        """Return the frame that brings this list up to date; None: it is, or a snapshot is due."""
        if item.id not in shown:
            if item.outcome is not None or seat.partial or not seat.reaches(item):
                return None
            if seat.end is not None or len(shown) >= inbox_reads.SNAPSHOT_REQUESTS:
                self.refresh([seat])
                return None
            shown[item.id] = item.version
            self._showing[item.id].add(seat)
            return frames.event(protocol.RequestOpened, item)
        if seat.end is not None:
            self.refresh([seat])
        if item.outcome is not None:
            del shown[item.id]
            self._not_showing(seat, item.id)
            return frames.event(protocol.RequestClosed, item, outcome=item.outcome)
        if shown[item.id] == item.version:
            return None
        shown[item.id] = item.version
        return frames.event(protocol.RequestUpdated, item)

    # The regular check

    async def _check(self, seats: Sequence[InboxSeat]) -> None:
        user_ids = {seat.user_id for seat in seats if seat.user_id is not None}
        credentials_of = {user_id: self._credentials_of_user(user_id) for user_id in user_ids}
        present = await in_database(inbox_reads.attendance, credentials_of)
        for seat in seats:
            if seat.user_id is not None:
                self._still_holds(seat, present)

    def _still_holds(self, seat: InboxSeat, present: Attendance) -> bool:
        """Expel the seat whose credential does not hold. Rights that have changed make a snapshot due."""
        if seat not in self._seats:
            return False
        owner = present.owners.get(seat.credential)
        if owner is None or owner != seat.user_id:
            self._expel(seat)
            return False
        person = present.people[owner]
        self._note_superuser(person)
        if person != seat.person:
            self._make_snapshot_due(seat)
        return True

    # Who sits where, and shows what

    def _forget(self, seat: InboxSeat) -> None:
        self._remember(seat, None)
        self._look_away(seat)
        if seat.user_id is not None:
            self._seats_of[seat.user_id].discard(seat)
            self._note_credentials(seat.user_id)

    def _note_credentials(self, user_id: int) -> None:
        """Replace the set of a user's credentials; it is never changed, since database threads look it up."""
        if seats := self._seats_of[user_id]:
            self._credentials_of[user_id] = frozenset(seat.credential for seat in seats)
        else:
            del self._seats_of[user_id], self._credentials_of[user_id]
            self._superusers.discard(user_id)

    def _note_superuser(self, person: Person) -> None:
        (self._superusers.add if person.superuser else self._superusers.discard)(person.id)

    def _credentials_of_user(self, user_id: int) -> frozenset[Credential]:
        return self._credentials_of.get(user_id, frozenset())

    def _remember(self, seat: InboxSeat, shown: dict[UUID, datetime] | None) -> None:
        before = (seat.shown or {}).keys()
        now = (shown or {}).keys()
        for id_ in before - now:
            self._not_showing(seat, id_)
        for id_ in now - before:
            self._showing[id_].add(seat)
        seat.shown = shown

    def _users_shown(self, id_: UUID) -> set[int]:
        seats = self._showing.get(id_, set()) | self._looking.get(id_, set())
        return {seat.user_id for seat in seats if seat.user_id is not None}

    def _not_showing(self, seat: InboxSeat, id_: UUID) -> None:
        self._showing[id_].discard(seat)
        if not self._showing[id_]:
            del self._showing[id_]

    def _make_snapshot_due(self, seat: InboxSeat) -> None:
        seat.person = None
        self.refresh([seat])

    def _owe_a_snapshot(self, seat: InboxSeat) -> None:
        """Send a slow reader no more events until it has read what waits, then a snapshot."""
        self._remember(seat, None)
        seat.outbox.when_drained(partial(self.refresh, [seat]))


inbox_hub = PerLoop(InboxHub)


class _Frames:
    """The frames of one reading, each encoded once for all who get it."""

    def __init__(self) -> None:
        self._encoded: dict[tuple[object, UUID], str] = {}
        self._snapshots: dict[tuple[Hashable, ...], str] = {}

    def event(self, kind: Callable[..., ServerMessage], item: Item, **more: Json) -> str:
        key = (kind, item.id)
        if key not in self._encoded:
            self._encoded[key] = encode(kind(request=item.request, **more))
        return self._encoded[key]

    def snapshot(self, items: Sequence[Item], *, more: bool) -> str:
        key = (more, *(item.id for item in items))
        if key not in self._snapshots:
            requests = Json.array(item.request for item in items)
            self._snapshots[key] = encode(protocol.Snapshot(requests=requests, more=more))
        return self._snapshots[key]


def _fitting(items: Iterable[Item]) -> list[Item]:
    """Return as many of the first items as fit a frame, at least one."""
    fitting: list[Item] = []
    room = FRAME_BUDGET
    for item in items:
        room -= len(item.request) + 1
        if room < 0 and fitting:
            break
        fitting.append(item)
    return fitting
