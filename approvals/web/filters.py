"""What part of the inbox a page shows; it lives in the URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict

from approvals import selectors
from approvals.lifecycle import Kind

PAGE = 50
LONGEST_PAGE = 1_000
LONGEST_SEARCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    mine: bool = False
    kind: str = ""
    soon: bool = False
    search: str = ""
    limit: int = PAGE

    @classmethod
    def of(cls, query: QueryDict) -> Filters:
        """Whatever the URL says that makes sense; the rest is as if it were not there."""
        kind, limit = query.get("kind", ""), query.get("limit", "")
        return cls(
            mine=query.get("show") == "mine",
            kind=kind if kind in set(Kind) else "",
            soon=query.get("soon") == "1",
            search=query.get("q", "").replace("\x00", "").strip()[:LONGEST_SEARCH],
            limit=min(max(int(limit), PAGE), LONGEST_PAGE) if limit.isdecimal() and len(limit) < 6 else PAGE,
        )

    @property
    def query(self) -> str:
        """`?…` for links that keep what is shown; empty where nothing is filtered."""
        return self._query(self.limit)

    @property
    def more(self) -> str:
        return self._query(min(self.limit * 4, LONGEST_PAGE))

    @property
    def active(self) -> bool:
        return bool(self.mine or self.kind or self.soon or self.search)

    def rows(self, user_id: int) -> tuple[list[Any], bool]:
        """The requests to show, and whether there are more."""
        rows = selectors.inbox(
            user_id,
            kind=self.kind or None,
            mine=self.mine,
            overdue_soon=self.soon,
            search=self.search,
            limit=self.limit + 1,
            light=True,
        )
        return rows[: self.limit], len(rows) > self.limit

    def _query(self, limit: int) -> str:
        parts = {
            "show": "mine" if self.mine else "",
            "kind": self.kind,
            "soon": "1" if self.soon else "",
            "q": self.search,
            "limit": str(limit) if limit > PAGE else "",
        }
        encoded = urlencode({name: value for name, value in parts.items() if value})
        return f"?{encoded}" if encoded else ""
