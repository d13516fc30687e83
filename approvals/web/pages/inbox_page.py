"""The list of the inbox: its tabs with their counts, and its rows, in order or in groups."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from approvals import queries
from approvals.domain.lifecycle import CLOSED, Severity, Status
from approvals.queries import Counts, GroupName, Inbox, Listed, Selection, Sort, Tab
from approvals.web.api.paging import cursor_after
from approvals.web.pages.filters import BY_REQUESTER, LONGEST_PAGE, Filters, groupings

LABELS = {Tab.MINE: "For me", Tab.ASKED: "I asked", Tab.ALL: "Everything", Tab.DECIDED: "Decided"}
# Said behind the counts.
MEANINGS = {Tab.MINE: "to decide", Tab.ASKED: "pending", Tab.ALL: "pending", Tab.DECIDED: "closed"}

STATUSES = {
    status.value: status.value.replace("_", " ").capitalize() for status in Status if status in CLOSED
}

# The most that 14 hexadecimal digits can say.
_LAST = 16**14 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TabLink:
    """A tab of the page: `meaning` says what its count is of."""

    name: str
    label: str
    count: int
    meaning: str
    query: str
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows under a heading; without a name, all rows of a list that has no groups."""

    name: str
    rows: list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """Several requests of one group in one row: that of the first of them in the list's order."""

    rows: Sequence[Any]

    @property
    def title(self) -> str:
        titles = [row.group["title"] for row in sorted(self.rows, key=lambda row: row.pk) if row.group]
        return titles[-1] if titles else "Removed"

    @property
    def name(self) -> str:
        """What tells the row from those of other groups, fit for an address; the key itself may be long."""
        return hashlib.sha256(repr(GroupName.of(self.rows[0])).encode()).hexdigest()[:16]

    @property
    def ids(self) -> str:
        return " ".join(str(row.pk) for row in self.rows)

    @property
    def due_first(self) -> Any | None:
        """What is due first; None where nothing has a deadline."""
        return min((row for row in self.rows if row.deadline), key=lambda row: row.deadline, default=None)

    @property
    def high(self) -> bool:
        return any(row.severity == Severity.HIGH for row in self.rows)

    @property
    def version(self) -> str:
        """Another text once the row looks or leads otherwise: a request has come, gone or changed."""
        return f"{len(self.rows)}-{_digits(max(row.changed_at for row in self.rows))}-{self.rows[0].pk}"


class InboxPage:
    """The list that one person sees with these filters; for one page, not to be kept."""

    def __init__(self, user_id: int, filters: Filters) -> None:
        self._user_id, self._filters = user_id, filters
        self._inbox = Inbox(user_id)

    def context(
        self, *, beside: Any | None = None, at_least: int = 0, only: Set[UUID] = frozenset()
    ) -> dict[str, Any]:
        """Return what the templates show: at least `at_least` rows, if there are.

        `beside` is the request that is open beside the list, and has its row there if the tab could have it.
        `only`: the rows with these ids, also of such as are closed by now.
        """
        filters = self._filters
        # A page of what was decided leads to the next one, behind its last row.
        listed = self._read(at_least, only=frozenset() if filters.decided else only)
        rows = self._with_beside(listed.rows, beside)
        if only:
            rows = [row for row in rows if row.pk in only]
            rows += self._closed(only - {row.pk for row in rows})
        self._prepare(rows)
        rows = self._gather(rows, only)
        counts = self._inbox.count()
        return {
            "groups": self._groups(rows),
            "rows": rows,
            "more": listed.more,
            "older": self._older(listed),
            "newest": filters.link(before=""),
            "unfiltered": Filters(tab=filters.tab).query,
            "searched": f"{listed.searched:,}" if listed.searched else "",
            "statuses": STATUSES.items(),
            "groupings": groupings(),
            "waiting": counts,
            "tabs": self._tabs(counts),
            "last_closed": self._last_closed() if filters.tab is Tab.MINE and not (rows or only) else None,
        }

    def ids(self, *, among: Any | None = None, at_least: int = 0) -> tuple[list[UUID], bool]:
        """Return the ids of the rows in the order in which they are shown, and whether there are more.

        `among`: this request has its place among them also if the list does not have it.
        """
        listed = self._read(at_least)
        rows = listed.rows
        if among is not None and not self._filters.decided and all(row.pk != among.pk for row in rows):
            rows = sorted([*rows, among], key=self._order)
        return [row.pk for group in self._groups(rows) for row in group.rows], listed.more

    def _read(self, at_least: int, only: Set[UUID] = frozenset()) -> Listed:
        limit = max(self._filters.limit, min(at_least, LONGEST_PAGE))
        return self._inbox.read(self._filters.selection, limit, only=only)

    def _with_beside(self, rows: list[Any], beside: Any | None) -> list[Any]:
        if beside is None or self._filters.active or any(row.pk == beside.pk for row in rows):
            return rows
        return sorted([*rows, beside], key=self._order) if self._could_have(beside) else rows

    def _could_have(self, asked: Any) -> bool:
        """Tell whether the request would be in this tab, or was there when it was pending."""
        match self._filters.tab:
            case Tab.MINE:
                return bool(self._inbox.may_decide([asked]))
            case Tab.ASKED:
                return bool(asked.requester_id == self._user_id)
            case Tab.ALL:
                return True
            case Tab.DECIDED:
                return False  # it is there, or on an older page

    def _closed(self, ids: Set[UUID]) -> list[Any]:
        """Return those of these that are closed and may be seen, to be greyed where they stand."""
        if self._filters.decided:
            return []
        closed = [row for row in queries.requests_by_id(ids, light=True) if row.status != Status.PENDING]
        visible = queries.visible_ids([self._user_id], closed)[self._user_id]
        return [row for row in closed if row.pk in visible]

    def _prepare(self, rows: Sequence[Any]) -> None:
        """Set on each row its place, its version, and whether this person may decide it now or has voted."""
        pending = [row for row in rows if row.status == Status.PENDING]
        voted = self._inbox.voted_on(pending)
        decidable = self._inbox.may_decide(pending) - voted
        for row in rows:
            row.order = self._order(row)
            row.voted = row.pk in voted
            row.decidable = row.pk in decidable
            row.version = f"{_digits(row.changed_at)}{'d' if row.decidable else ''}"

    def _gather(self, rows: list[Any], only: Set[UUID]) -> list[Any]:
        """Put those of one group that this person can decide now into one row, if there are several.

        With `only`, also return the rows of the groups of these ids that may be seen: what is left of a group
        may be one request, or a row of fewer.
        """
        if self._filters.tab is not Tab.MINE:
            return rows
        names = {name for row in rows if row.decidable and (name := GroupName.of(row))}
        names |= self._inbox.groups_of(only) if only else set()
        of_groups: defaultdict[GroupName | None, list[Any]] = defaultdict(list)
        for row in self._inbox.read_groups(self._filters.selection, names):
            of_groups[GroupName.of(row)].append(row)
        gathered = [members for members in of_groups.values() if len(members) > 1]
        inside = {row.pk for members in gathered for row in members}
        kept = [row for row in rows if row.pk not in inside]
        added = [members[0] for members in gathered]
        if only:
            there = {row.pk for row in kept}
            added += [row for (row, *more) in of_groups.values() if not more and row.pk not in there]
        if not added:
            return kept
        self._prepare(added)
        for members in gathered:
            members[0].together, members[0].decidable = Together(rows=members), False
        return sorted([*kept, *added], key=lambda row: row.order)

    def _order(self, row: Any) -> str:
        """Return a text that sorts rows as the list does."""
        opened = _digits(row.opened_at)
        if self._filters.decided:
            return _digits(row.closed_at, backwards=True)
        match self._filters.sort:
            case Sort.DEADLINE:
                return f"{_digits(row.deadline) if row.deadline else 'last'} {opened}"
            case Sort.AGE:
                return opened
            case Sort.NEWEST:
                return _digits(row.opened_at, backwards=True)

    def _groups(self, rows: Sequence[Any]) -> list[Group]:
        """Return the groups in the order of their first rows."""
        groups: dict[str, list[Any]] = {}
        names = self._group_names(rows)
        for row in rows:
            row.heading = names.get(row.pk, "")
            groups.setdefault(row.heading, []).append(row)
        return [Group(name=name, rows=some) for name, some in groups.items()]

    def _group_names(self, rows: Sequence[Any]) -> dict[UUID, str]:
        by = self._filters.group
        if not by:
            return {}
        if by == BY_REQUESTER:
            return {row.pk: row.requester.get_username() if row.requester else "A program" for row in rows}
        named = queries.origin_names([row.pk for row in rows], by)
        return {row.pk: named.get(row.pk, f"No {by}") for row in rows}

    def _tabs(self, counts: Counts) -> list[TabLink]:
        filters = self._filters
        return [
            TabLink(
                name=tab,
                label=label,
                count=getattr(counts, tab),
                meaning=MEANINGS[tab],
                query=filters.of_tab(tab),
                current=tab is filters.tab,
            )
            for tab, label in LABELS.items()
            if tab is not Tab.ALL or counts.sees_more or filters.tab is tab
        ]

    def _older(self, listed: Listed) -> str:
        """Return the query string of the next page of what was decided; empty if there is none."""
        cursor = cursor_after(listed.rows, listed.more, "closed_at") if self._filters.decided else None
        return self._filters.link(before=cursor) if cursor else ""

    def _last_closed(self) -> Any | None:
        closed = self._inbox.read(Selection(tab=Tab.DECIDED), 1).rows
        return closed[0] if closed else None


def _digits(moment: datetime, *, backwards: bool = False) -> str:
    """Write microseconds as hexadecimal digits: such texts sort as their times do, or backwards."""
    microseconds = int(moment.timestamp() * 1_000_000)
    return f"{_LAST - microseconds if backwards else microseconds:014x}"
