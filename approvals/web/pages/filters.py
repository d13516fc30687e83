"""The filters of the inbox, which are part of its address."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlencode

from django.http import QueryDict

from approvals.domain.lifecycle import CLOSED, Kind
from approvals.exceptions import InvalidRequest
from approvals.queries import Selection, Sort, Tab, origin_resolvers
from approvals.web.api.paging import Place, place_of

PAGE = 50
LONGEST_PAGE = 1_000
LONGEST_SEARCH = 200

BY_REQUESTER = "requester"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What the inbox shows, and how; values of the address that make no sense are ignored.

    `before` is the cursor of an older page of what was decided.
    """

    tab: Tab = Tab.MINE
    by_me: bool = False
    kind: str = ""
    status: str = ""
    soon: bool = False
    sort: Sort = Sort.DEADLINE
    group: str = ""
    search: str = ""
    before: str = ""
    limit: int = PAGE

    @classmethod
    def from_query(cls, query: QueryDict) -> Self:
        tab = Tab(_one_of(query, "tab", Tab) or Tab.MINE)
        decided = tab is Tab.DECIDED
        before = query.get("before", "")
        return cls(
            tab=tab,
            by_me=decided and query.get("by") == "me",
            kind=_one_of(query, "kind", Kind),
            status=_one_of(query, "status", CLOSED) if decided else "",
            soon=not decided and query.get("soon") == "1",
            sort=Sort.DEADLINE if decided else Sort(_one_of(query, "sort", Sort) or Sort.DEADLINE),
            group=_one_of(query, "group", groupings()),
            search=query.get("q", "").replace("\x00", "").strip()[:LONGEST_SEARCH],
            before=before if decided and _place(before) else "",
            limit=PAGE if decided else min(max(number_of(query, "limit"), PAGE), LONGEST_PAGE),
        )

    @property
    def decided(self) -> bool:
        return self.tab is Tab.DECIDED

    @property
    def selection(self) -> Selection:
        return Selection(
            tab=self.tab,
            by_me=self.by_me,
            kind=self.kind,
            status=self.status,
            due_soon=self.soon,
            sort=self.sort,
            search=self.search,
            before=_place(self.before),
        )

    @property
    def active(self) -> bool:
        """Whether the tab shows less than all that it has."""
        return bool(self.narrowing or self.search)

    @property
    def narrowing(self) -> int:
        """How many filters leave requests out, the search not counted."""
        return sum(map(bool, (self.by_me, self.kind, self.status, self.soon)))

    @property
    def query(self) -> str:
        """The query string for links that keep everything; empty if there is nothing to keep."""
        return self.link()

    @property
    def more(self) -> str:
        """The query string that shows more rows; empty at the most that one page shows."""
        return self.link(limit=str(self.further)) if self.limit < LONGEST_PAGE else ""

    @property
    def further(self) -> int:
        """How many rows the next longer page shows."""
        return min(self.limit * 4, LONGEST_PAGE)

    @property
    def longer(self) -> bool:
        """Whether more rows are shown than at first."""
        return self.limit > PAGE

    def of_tab(self, tab: Tab) -> str:
        """Return the query string for another tab, which keeps what any tab has."""
        return _encode(tab="" if tab is Tab.MINE else tab, kind=self.kind, group=self.group, q=self.search)

    def link(self, **others: str) -> str:
        """Return the query string with these parameters in place of those that there are."""
        parts = {
            "tab": "" if self.tab is Tab.MINE else self.tab.value,
            "by": "me" if self.by_me else "",
            "kind": self.kind,
            "status": self.status,
            "soon": "1" if self.soon else "",
            "sort": "" if self.sort is Sort.DEADLINE else self.sort.value,
            "group": self.group,
            "q": self.search,
            "before": self.before,
            "limit": str(self.limit) if self.longer else "",
        }
        return _encode(**(parts | others))


def groupings() -> list[str]:
    """Return by what rows can be grouped: by requester, or by what asked, as its resolver calls it."""
    return [BY_REQUESTER, *(resolver.word for resolver in origin_resolvers.resolvers().values())]


def number_of(query: QueryDict, name: str, *, digits: int = 5) -> int:
    """Return a number of the URL; 0 without a valid one, of at most so many digits."""
    text = query.get(name, "")
    return int(text) if text.isdecimal() and len(text) <= digits else 0


def _encode(**parts: str) -> str:
    encoded = urlencode({name: value for name, value in parts.items() if value})
    return f"?{encoded}" if encoded else ""


def _one_of(query: QueryDict, name: str, values: Iterable[str]) -> str:
    value = query.get(name, "")
    return value if value in set(values) else ""


def _place(cursor: str) -> Place | None:
    try:
        return place_of(cursor or None)
    except InvalidRequest:
        return None
