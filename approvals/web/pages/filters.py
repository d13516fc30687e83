"""The filters of lists, which are part of their URLs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict

from approvals import queries
from approvals.domain.lifecycle import Kind

PAGE = 50
LONGEST_PAGE = 1_000
LONGEST_SEARCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFilters:
    """What every list has: a search, and how many rows it shows. Subclasses add their own filters."""

    search: str = ""
    limit: int = PAGE

    @staticmethod
    def read(query: QueryDict) -> dict[str, Any]:
        """Read the search and the limit from a URL; invalid values are ignored."""
        return {
            "search": query.get("q", "").replace("\x00", "").strip()[:LONGEST_SEARCH],
            "limit": min(max(number_of(query, "limit"), PAGE), LONGEST_PAGE),
        }

    @property
    def parts(self) -> dict[str, str]:
        """The parameters of the query string but for the limit."""
        return {"q": self.search}

    @property
    def query(self) -> str:
        """The query string for links that keep the filters; empty if there are none."""
        return self._query(self.limit)

    @property
    def more(self) -> str:
        """The query string that shows more rows; empty at the most that one page shows."""
        return self._query(self.further) if self.limit < LONGEST_PAGE else ""

    @property
    def further(self) -> int:
        """How many rows the next longer page shows."""
        return min(self.limit * 4, LONGEST_PAGE)

    @property
    def longer(self) -> bool:
        """Whether more rows are shown than at first."""
        return self.limit > PAGE

    def _query(self, limit: int) -> str:
        parts = {**self.parts, "limit": str(limit) if limit > PAGE else ""}
        encoded = urlencode({name: value for name, value in parts.items() if value})
        return f"?{encoded}" if encoded else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters(ListFilters):
    """The filters of the inbox."""

    mine: bool = False
    kind: str = ""
    soon: bool = False

    @classmethod
    def from_query(cls, query: QueryDict) -> Filters:
        kind = query.get("kind", "")
        return cls(
            mine=query.get("show") == "mine",
            kind=kind if kind in set(Kind) else "",
            soon=query.get("soon") == "1",
            **cls.read(query),
        )

    @property
    def parts(self) -> dict[str, str]:
        mine, soon = "mine" if self.mine else "", "1" if self.soon else ""
        return {"show": mine, "kind": self.kind, "soon": soon, "q": self.search}

    @property
    def active(self) -> bool:
        return any(self.parts.values())

    def rows(self, user_id: int, at_least: int = 0) -> tuple[list[Any], bool]:
        """Read the requests to show, at least `at_least` of them if there are, and whether there are more."""
        most = max(self.limit, min(at_least, LONGEST_PAGE))
        rows = queries.list_inbox(
            user_id,
            kind=self.kind or None,
            mine=self.mine,
            overdue_soon=self.soon,
            search=self.search,
            limit=most + 1,
            light=True,
        )
        return rows[:most], len(rows) > most


def number_of(query: QueryDict, name: str, *, digits: int = 5) -> int:
    """Return a number of the URL; 0 without a valid one, of at most so many digits."""
    text = query.get(name, "")
    return int(text) if text.isdecimal() and len(text) <= digits else 0


def sort_key(asked: Any) -> str:
    """Return a text that sorts requests as the inbox does: by deadline, then by age."""
    due = _sortable_time(asked.deadline) if asked.deadline else "last"
    return f"{due} {_sortable_time(asked.opened_at)}"


def _sortable_time(moment: datetime) -> str:
    """Write microseconds as hexadecimal digits of fixed length: such texts sort as their times do."""
    return f"{int(moment.timestamp() * 1_000_000):014x}"
