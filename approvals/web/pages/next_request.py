"""Which request opens after a decision, and what its page says of the one that was decided."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from approvals import queries
from approvals.domain.lifecycle import Status
from approvals.exceptions import UnknownRequest
from approvals.web.pages.filters import LONGEST_PAGE, Filters
from approvals.web.pages.inbox_page import InboxPage


@dataclass(frozen=True, slots=True, kw_only=True)
class Successors:
    """The requests of a list that may be opened after one of them: those behind it, then those before it.

    Read before the decision, because after it the list does not have the decided one any more. Where it was
    decided before, its place is where it would stand.
    """

    user_id: int
    filters: Filters
    ids: list[UUID]
    more: bool

    @classmethod
    def of(cls, asked: Any, user_id: int, filters: Filters) -> Successors:
        ids, more = InboxPage(user_id, filters).ids(among=asked)
        place = ids.index(asked.pk) if asked.pk in ids else 0
        return cls(user_id=user_id, filters=filters, ids=ids[place:] + ids[:place], more=more)

    def first(self) -> UUID | None:
        """Return the first that this person has still to decide; None if the list has no such request."""
        found = self._first_of(self.ids)
        if found is None and self.more:
            ids, _ = InboxPage(self.user_id, self.filters).ids(at_least=LONGEST_PAGE)
            found = self._first_of(ids)
        return found

    def _first_of(self, ids: list[UUID]) -> UUID | None:
        wanted = queries.to_be_decided_by(self.user_id, ids)
        return next((pk for pk in ids if pk in wanted), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a person has said to a request, as it is on record now. `missing`: approvals still needed."""

    asked: Any
    own: bool
    missing: int

    @classmethod
    def by(cls, user_id: int, request_id: str) -> Done | None:
        """Return it for a request on which this person has responded; None for any other id."""
        with suppress(UnknownRequest):
            asked = queries.request_for(user_id, request_id)
            if queries.has_responded(user_id, asked.pk):
                missing = queries.standing(asked).missing if asked.status == Status.PENDING else 0
                return cls(asked=asked, own=asked.decided_by_id == user_id, missing=missing)
        return None

    @property
    def these(self) -> list[Any]:
        """The request, in the list that finds the runs behind requests."""
        return [self.asked]
