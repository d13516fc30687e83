"""The list of runs: whose, by orchestration, by state with counts, searched, page by page.

However many runs are on record, a list reads a bounded number of them. By state it is read from an index,
and each count ends at COUNTED. A search, and the runs of one orchestration, are looked for among the newest
SEARCHED, which the page says where there are more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Case, Count, F, Q, When
from django.http import QueryDict

from approvals.database.fields import JSONText
from approvals.exceptions import InvalidRequest
from approvals.queries.inbox import COUNTED
from approvals.queries.large_columns import Octets
from approvals.web.api.paging import Place, cursor_after, place_of
from approvals.web.pages.filters import LONGEST_SEARCH
from orchestration import catalog, queries
from orchestration.models import FINISHED, OPEN, RunStatus
from orchestration.queries import Runs

PAGE = 50
SEARCHED = 10_000
# Bytes of an input that is shown beside the title.
SHORT_INPUT = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilters:
    """The filters of the list, which are part of its address; invalid ones are ignored."""

    mine: bool = False
    status: str = ""
    orchestration: str = ""
    search: str = ""
    before: Place | None = None

    @classmethod
    def from_query(cls, query: QueryDict) -> RunFilters:
        status = query.get("status", "")
        return cls(
            mine=query.get("show") == "mine",
            status=status if status in RunStatus.values else "",
            orchestration=_line(query.get("orchestration", "")),
            search=_line(query.get("q", "")),
            before=_place(query.get("before")),
        )

    @property
    def active(self) -> bool:
        return bool(self.status or self.orchestration or self.search)

    @property
    def narrowed(self) -> bool:
        """Whether rows are looked for that no index has."""
        return bool(self.orchestration or self.search)

    @property
    def run_id(self) -> UUID | None:
        """The id that is searched for, if it is one."""
        try:
            return UUID(self.search)
        except ValueError:
            return None

    def link(self, **others: str) -> str:
        """Return the query string for the first page with these filters, others in their place."""
        parts = {
            "show": "mine" if self.mine else "",
            "status": self.status,
            "orchestration": self.orchestration,
            "q": self.search,
        }
        encoded = urlencode({name: value for name, value in (parts | others).items() if value})
        return f"?{encoded}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunList:
    """One page. `counts` are those of the states, for the same runs whatever their state.

    `older`: the cursor of the next page, if there is one. `searched`: only so many of the newest runs were
    looked at; 0: all.
    """

    runs: list[Any]
    counts: Mapping[str, int]
    older: str | None
    searched: int


def read_list(user_id: int, filters: RunFilters) -> RunList:
    """Read the page, in a constant number of queries."""
    runs = queries.visible_to(user_id)
    if filters.mine:
        runs = runs.filter(owner_id=user_id)
    since = _start_of_search(runs) if filters.narrowed and filters.run_id is None else None
    if filters.narrowed:
        runs = _narrow(runs, filters, since)
    listed = _in_state(runs, filters.status) if filters.status else runs
    if filters.before is not None:
        at, run_id = filters.before
        listed = listed.filter(Q(created_at__lt=at) | Q(created_at=at, pk__lt=run_id))
    rows = list(_small(listed).order_by("-created_at", "-id")[: PAGE + 1])
    return RunList(
        runs=rows[:PAGE],
        counts=_count_by_status(runs, narrowed=filters.narrowed),
        older=cursor_after(rows[:PAGE], len(rows) > PAGE, "created_at"),
        searched=0 if since is None else SEARCHED,
    )


def known_orchestrations(filters: RunFilters) -> list[str]:
    """Return the names to choose from: those registered here, and the chosen one."""
    return sorted({*catalog.orchestrations(), filters.orchestration} - {""})


def _in_state(runs: Runs, status: str) -> Runs:
    """Return the runs in this state, with the condition that the indexes of ended runs have."""
    return runs.filter(status=status, finished_at__isnull=status not in FINISHED)


def _start_of_search(runs: Runs) -> datetime | None:
    """Return when the first of the newest SEARCHED was created; None if there are no more than these."""
    first = runs.order_by("-created_at", "-id").values_list("created_at", flat=True)
    found = list(first[SEARCHED - 1 : SEARCHED + 1])
    return found[0] if len(found) > 1 else None


def _narrow(runs: Runs, filters: RunFilters, since: datetime | None) -> Runs:
    if filters.run_id is not None:
        runs = runs.filter(pk=filters.run_id)
    elif filters.search:
        runs = runs.filter(queries.search_condition(filters.search))
    if filters.orchestration:
        runs = runs.filter(orchestration=filters.orchestration)
    return runs if since is None else runs.filter(created_at__gte=since)


def _small(runs: Runs) -> Runs:
    """Leave out what may be large, but for a short input."""
    shown = runs.select_related("owner").defer("input", "plan", "result", "error")
    short = When(octets__lte=SHORT_INPUT, then=F("input"))
    return shown.annotate(octets=Octets("input")).annotate(
        short_input=Case(short, default=None, output_field=JSONText())
    )


def _count_by_status(runs: Runs, *, narrowed: bool) -> dict[str, int]:
    """Count the runs by status; up to COUNTED of each that has ended, where an index has them."""
    runs = runs.order_by()
    found: dict[str, int] = {}
    if not narrowed:
        found = {status: _in_state(runs, status)[:COUNTED].count() for status in FINISHED}
        runs = runs.filter(status__in=OPEN)
    found |= dict(runs.values_list("status").annotate(Count("pk")))
    return {status.value: found.get(status.value, 0) for status in RunStatus}


def _line(text: str) -> str:
    return text.replace("\x00", "").strip()[:LONGEST_SEARCH]


def _place(cursor: str | None) -> tuple[datetime, UUID] | None:
    try:
        return place_of(cursor)
    except InvalidRequest:
        return None
