"""Removes what was shown and said: the content of trail entries, and the same words in requests' rows.

The entries stay, with the salted hash of what they showed; the entry that records the removal is written in
the same transaction. A row keeps who asked and decided, when, and the outcome.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from copy import copy
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from approvals.database import bulk
from approvals.domain.payloads import parse_object
from approvals.domain.request_terms import Place, terms_in
from approvals.models import AuditEntry, Event, HumanRequest, Response, ShownContent
from approvals.writer import callbacks, chain

# The terms that `blank` empties, and all columns that it changes beside those that every rule may change.
_REMOVED = [term for term in terms_in(Place.ROW) if term.removed is not ...]
WORDS = (*(term.name for term in _REMOVED), "group_key", "escalates_at", "callback_url", "purged_at")


class Shown(NamedTuple):
    """What an entry's actor was shown or said. `holds`: it fits its hash."""

    entry_id: int
    request_id: UUID
    sequence: int
    event: str
    actor_id: int | None
    recorded_at: datetime
    holds: bool
    content: dict[str, Any]

    def is_old(self, moment: datetime) -> bool:
        if self.event == Event.PURGED:
            return bool(self.content.get("kept")) or not self.holds
        return self.recorded_at < moment


class Removals:
    """The content that some requests have, and what of it is to be removed. The caller has locked them."""

    def __init__(self, request_ids: Collection[UUID]) -> None:
        self._shown = _contents_of(request_ids)
        self.to_be_posted = callbacks.waiting_for(request_ids) if request_ids else set()
        self._removed: list[int] = []
        self._purged: dict[UUID, HumanRequest] = {}
        self._forgotten: defaultdict[int, set[UUID]] = defaultdict(set)

    def shown_before(self, row: HumanRequest, moment: datetime) -> list[Shown]:
        """Return what is to be purged.

        The record of a removal stays, unless it keeps what was asked, which is as old as the request.
        """
        return [one for one in self._shown[row.pk] if one.is_old(moment)]

    def naming(self, row: HumanRequest, user_id: int) -> list[Shown]:
        """Return what one person was shown and said, which names its actor."""
        return [one for one in self._shown[row.pk] if one.actor_id == user_id]

    def purge(self, row: HumanRequest, shown: Iterable[Shown], now: datetime) -> None:
        self._remove(shown)
        if row.purged_at is None:
            self._purged[row.pk] = row
            blank(row, now)

    def forget(self, row: HumanRequest, shown: Iterable[Shown], user_id: int) -> None:
        self._remove(shown)
        self._forgotten[user_id].add(row.pk)
        if row.decided_by_id == user_id:
            row.comment, row.answer = "", None

    def write(self) -> None:
        """Write all removals, in a number of statements that does not grow with that of the requests."""
        if self._removed:
            bulk.remove(ShownContent, self._removed)
        if self._purged:
            bulk.update(HumanRequest, [vars(row) for row in self._purged.values()], WORDS)
            said = Response.writing.filter(request_id__in=list(self._purged))
            said.update(answer=None, arguments=None, comment="")
            callbacks.strip_paths(list(self._purged))
        for user_id, request_ids in self._forgotten.items():
            said = Response.writing.filter(request_id__in=request_ids, actor_id=user_id)
            said.update(answer=None, comment="")

    def _remove(self, shown: Iterable[Shown]) -> None:
        removed = {one.entry_id: one.request_id for one in shown}
        self._removed += removed
        for request_id in set(removed.values()):
            left = [one for one in self._shown[request_id] if one.entry_id not in removed]
            self._shown[request_id] = left


def blank(row: HumanRequest, now: datetime) -> None:
    """Take the words out of a row; who, when, how many and the outcome remain."""
    for term in _REMOVED:
        setattr(row, term.name, copy(term.removed))
    row.answer = row.final_arguments = row.escalates_at = None
    row.comment, row.group_key, row.callback_url = "", "", callbacks.receiver_of(row.callback_url)
    row.purged_at = now


def question_in(shown: Sequence[Shown]) -> dict[str, Any]:
    """Return what was asked and finally approved, as far as these entries say so; without their actors."""
    kept: dict[str, Any] = {}
    for one in shown:
        match one.event:
            case Event.OPENED:
                kept |= {name: value for name, value in one.content.items() if name != "actor"}
            case Event.DECIDED if one.content.get("arguments") is not None:
                kept["final_arguments"] = one.content["arguments"]
            case Event.PURGED:
                kept |= one.content.get("kept", {})
    return kept


def _contents_of(request_ids: Collection[UUID]) -> defaultdict[UUID, list[Shown]]:
    found: defaultdict[UUID, list[Shown]] = defaultdict(list)
    if not request_ids:
        return found
    entries = AuditEntry.objects.filter(request_id__in=request_ids, shown__isnull=False).order_by("sequence")
    columns = ("pk", *Shown._fields[1:-2], "content_hash", "shown__salt", "shown__content")
    for *named, hash_, salt, content in entries.values_list(*columns):
        shown = Shown._make([*named, chain.content_hash(salt, content) == hash_, parse_object(content) or {}])
        found[shown.request_id].append(shown)
    return found
