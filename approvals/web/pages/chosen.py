"""The requests that a person chose to decide together: which can be, why others can't, and what differs.

A request is decided together with others only if all of it is on the page: what is too long has its own.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from approvals import queries
from approvals.domain.lifecycle import Kind, Status
from approvals.domain.masking import hide_headers
from approvals.exceptions import ApprovalError, InvalidRequest, NotPermitted
from approvals.web.pages.differences import differing_names
from approvals.web.pages.json_tables import is_shown_whole
from approvals.web.pages.wording import if_nobody_decides, outcome_in_words

MOST_AT_ONCE = 100
# Bytes of a request that is shown together with others, and of all of them on one page.
LARGE = 16_384
MOST_BYTES = 262_144
# With more differences than these, requests are shown one under the other.
MOST_COLUMNS = 6

VOTED = "You have approved this already; it needs more approvals."
OTHERS = "You may see this, but others decide it."
# Such a request is from before this was refused.
QUESTION = "This is a question: answer it on its own page."
CHANGEABLE = "Others who approve it may change its arguments: decide it on its own page."
TOO_LONG = "Too long to be shown together with others: decide it on its own page."


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An approval in a table; `cells` are the values of the table's columns, each with its name."""

    asked: Any
    cells: Sequence[tuple[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """Approvals with the same names of arguments, for a table: `columns` are the arguments that differ.

    `same` are the others. `details` and `nobody` (what happens if nobody decides) are what all have in
    common, and `asker` is one of them where all have the same; None: they differ.
    """

    rows: Sequence[Row]
    columns: Sequence[str]
    same: Mapping[str, Any]
    details: str | None
    nobody: str | None
    asker: Any | None

    @property
    def requests(self) -> list[Any]:
        return [row.asked for row in self.rows]

    @property
    def ends(self) -> bool:
        """Whether the table says of each when it ends."""
        return self.nobody is None or any(row.asked.deadline for row in self.rows)

    @property
    def width(self) -> int:
        """How many columns the table has."""
        return 1 + len(self.columns) + (self.asker is None) + self.ends


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What a person chose, in the order of `ids`, as they were sent, without repetitions.

    `open` can be decided together now, `questions` are to be answered one by one, `left_out` can't be decided
    now, each with the reason. `unknown` are ids as they were sent: of none or of what may not be seen.
    `settled` are closed or have this person's vote: the same decision, sent again, has its recorded outcome.
    """

    ids: Sequence[str]
    requests: Mapping[UUID, Any]
    open: Sequence[Any]
    questions: Sequence[Any]
    left_out: Sequence[tuple[Any, str]]
    unknown: Sequence[str]
    settled: Collection[UUID]

    @classmethod
    def read(cls, user_id: int, ids: Iterable[str]) -> Chosen:
        """Read what this person may see of these ids, in a constant number of queries.

        Raises InvalidRequest for more than MOST_AT_ONCE.
        """
        sent = list(dict.fromkeys(ids))
        if len(sent) > MOST_AT_ONCE:
            raise InvalidRequest(
                f"At most {MOST_AT_ONCE} requests can be decided at once; you chose {len(sent)}.",
                field="id",
            )
        valid = {text: pk for text in sent if (pk := queries.id_or_none(text)) is not None}
        seen, decidable = _read(user_id, list(valid.values()))
        voted = _voted(user_id, seen.values())
        reasons = _reasons(seen.values(), decidable, voted)
        able = [row for pk, row in seen.items() if pk not in reasons]
        approvals = [row for row in able if row.kind == Kind.APPROVAL]
        reasons |= _load(approvals)
        return cls(
            ids=sent,
            requests=seen,
            open=[row for row in approvals if row.pk not in reasons],
            questions=[row for row in able if row.kind == Kind.CLARIFICATION],
            left_out=[(seen[pk], reasons[pk]) for pk in seen if pk in reasons],
            unknown=[text for text in sent if valid.get(text) not in seen],
            settled=voted | {pk for pk, row in seen.items() if row.status != Status.PENDING},
        )

    def find(self, id_: str) -> Any | None:
        """Return the request with this id, as it was sent; None if it may not be seen."""
        pk = queries.id_or_none(id_)
        return None if pk is None else self.requests.get(pk)

    def refusal(self, id_: str) -> ApprovalError | None:
        """Return why the request with this id, as it was sent, is not decided here.

        None: it is open, or settled, so that the writer says what is on record.
        """
        asked = self.find(id_)
        if asked is None:
            return queries.unknown_request(id_)
        if asked.pk in self.settled:
            return None
        reason = self._why.get(asked.pk, "")
        return (NotPermitted if reason == OTHERS else InvalidRequest)(reason) if reason else None

    @cached_property
    def _why(self) -> dict[UUID, str]:
        return {row.pk: reason for row, reason in self.left_out} | {
            row.pk: QUESTION for row in self.questions
        }

    @property
    def others(self) -> int:
        """How many of those that were chosen can't be decided together now."""
        return len(self.questions) + len(self.left_out) + len(self.unknown)

    @cached_property
    def tables(self) -> list[Alike]:
        """Those that can be decided and are alike, as tables."""
        return [_table(rows) for rows in self._shapes if _fit_a_table(rows)]

    @cached_property
    def single(self) -> list[Any]:
        """The others that can be decided."""
        return [row for rows in self._shapes if not _fit_a_table(rows) for row in rows]

    @cached_property
    def _shapes(self) -> list[list[Any]]:
        found: defaultdict[tuple[str, ...], list[Any]] = defaultdict(list)
        for row in self.open:
            found[tuple(sorted(row.arguments))].append(row)
        return list(found.values())


def _read(user_id: int, ids: Sequence[UUID]) -> tuple[dict[UUID, Any], set[UUID]]:
    """Return those of these requests that this person may see, in this order, and which they may decide."""
    rows = {row.pk: row for row in queries.requests_by_id(ids, light=True)}
    rights = queries.rights_among(user_id, rows.values())
    seen = {pk: rows[pk] for pk in ids if pk in rows and rights[pk].see}
    return seen, {pk for pk in seen if rights[pk].decide}


def _voted(user_id: int, rows: Collection[Any]) -> set[UUID]:
    """Return which of these requests are pending and have this person's vote, or leave them none to give."""
    return queries.Inbox(user_id).voted_on([row for row in rows if row.status == Status.PENDING])


def _reasons(rows: Collection[Any], decidable: set[UUID], voted: set[UUID]) -> dict[UUID, str]:
    """Return why those of these requests can't be decided that can't."""
    why = ((row.pk, _reason(row, may=row.pk in decidable, voted=row.pk in voted)) for row in rows)
    return {pk: reason for pk, reason in why if reason}


def _reason(row: Any, *, may: bool, voted: bool) -> str:
    if row.status != Status.PENDING:
        return outcome_in_words(row)
    if not may:
        return OTHERS
    return VOTED if voted else ""


def _load(rows: Sequence[Any]) -> dict[UUID, str]:
    """Read what is large of these rows; return why those can't be decided here that can't."""
    queries.load_large(rows, LARGE)
    reasons, room = {}, MOST_BYTES
    for row in rows:
        if not row.asked_whole or row.weight > room or not is_shown_whole(row.arguments):
            reasons[row.pk] = TOO_LONG
        elif row.required > 1 and row.editable is not False:
            reasons[row.pk] = CHANGEABLE
        else:
            room -= row.weight
    return reasons


def _fit_a_table(rows: Sequence[Any]) -> bool:
    return len(rows) > 1 and len(differing_names([row.arguments for row in rows])) <= MOST_COLUMNS


def _table(rows: Sequence[Any]) -> Alike:
    columns = differing_names([row.arguments for row in rows])
    # Hidden as a whole: what is a secret is told by its place.
    hidden = [hide_headers(row.arguments) for row in rows]
    return Alike(
        rows=[
            Row(asked=row, cells=[(name, arguments[name]) for name in columns])
            for row, arguments in zip(rows, hidden, strict=True)
        ],
        columns=columns,
        same={name: value for name, value in hidden[0].items() if name not in columns},
        details=_common(row.details for row in rows),
        nobody=_common(if_nobody_decides(row) for row in rows),
        asker=None if _common(_asker(row) for row in rows) is None else rows[0],
    )


def _asker(asked: Any) -> str:
    return json.dumps([str(asked.requester_id), asked.origin], sort_keys=True)


def _common(texts: Iterable[str]) -> str | None:
    """Return the text that all of these are; None if they differ."""
    different = set(texts)
    return different.pop() if len(different) == 1 else None
