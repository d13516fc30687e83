"""What the page of a group shows to one person: each request, and what they can do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Self

from approvals import queries
from approvals.domain.lifecycle import Status
from approvals.queries import GroupName, Members
from approvals.web.pages.chosen import LARGE, MOST_AT_ONCE, MOST_BYTES, Chosen
from approvals.web.pages.forms import MemberForm, TogetherForm
from approvals.web.pages.results import Result

NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One request of the group. `form` decides it here; `why` says why it has none, if that is worth saying.

    `whole`: all that was asked is on the page. `result` is what came of what the person has just sent.
    """

    asked: Any
    whole: bool
    form: TogetherForm | None = None
    answerable: bool = False
    why: str = ""
    result: Result | None = None

    @property
    def editable(self) -> bool:
        """Whether its own page lets the arguments be changed before they are approved."""
        return self.form is not None and self.asked.editable is not False


@dataclass(frozen=True, kw_only=True)
class GroupPage:
    """The group as this person may see it now.

    `forms` are those that were sent and are shown again, by the id of the request; "": that for all.
    `results` are what came of what was sent, by id.
    """

    members: Members
    chosen: Chosen
    forms: Mapping[str, TogetherForm]
    results: Mapping[str, Result]

    @classmethod
    def read(
        cls,
        user_id: int,
        name: GroupName,
        *,
        forms: Mapping[str, TogetherForm] = NONE,
        results: Mapping[str, Result] = NONE,
    ) -> Self:
        """Read it in a constant number of queries; UnknownRequest if there is nothing that may be seen."""
        members = queries.members_of_group(user_id, name, MOST_AT_ONCE)
        if not members.rows:
            raise queries.unknown_request(name.key)
        pending = [str(row.pk) for row in members.rows if row.status == Status.PENDING]
        chosen = Chosen.read(user_id, pending)
        _load([row for row in members.rows if row.pk not in {one.pk for one in chosen.open}])
        return cls(members=members, chosen=chosen, forms=forms, results=results)

    @cached_property
    def cards(self) -> Sequence[Card]:
        """The requests in the order in which they were asked, which a decision does not change."""
        able = {row.pk: row for row in self.chosen.open}
        why = {row.pk: reason for row, reason in self.chosen.left_out}
        questions = {row.pk for row in self.chosen.questions}
        return [
            Card(
                asked=able.get(row.pk, row),
                whole=row.pk in able or row.asked_whole,
                form=self._form_of(able[row.pk]) if row.pk in able else None,
                answerable=row.pk in questions,
                why=why.get(row.pk, ""),
                result=self.results.get(str(row.pk)),
            )
            for row in self.members.rows
        ]

    @property
    def open(self) -> Sequence[Any]:
        """What this person can decide here."""
        return self.chosen.open

    @property
    def title(self) -> str:
        """The title that the last request gave to the group, as far as words are on record."""
        titles = [row.group["title"] for row in self.members.rows if row.group]
        return titles[-1] if titles else "Removed"

    @property
    def due_first(self) -> Any | None:
        """Of what this person can decide or answer, what is due first; None where nothing has a deadline."""
        due = [row for row in (*self.open, *self.chosen.questions) if row.deadline]
        return min(due, key=lambda row: row.deadline, default=None)

    @property
    def tally(self) -> list[tuple[str, int]]:
        """How many of those on the page are for this person to decide or answer, for others, and closed."""
        closed = sum(row.status != Status.PENDING for row in self.members.rows)
        own = len(self.open), len(self.chosen.questions)
        others = len(self.members.rows) - closed - sum(own)
        words = ("to decide", "to answer", "not for you to decide here", "closed")
        return [(word, number) for word, number in zip(words, (*own, others, closed), strict=True) if number]

    @property
    def left_out(self) -> int:
        """How many requests are not on the page."""
        return self.members.pending + self.members.closed - len(self.members.rows)

    @property
    def seen(self) -> list[Any]:
        """The pending requests that a person who opens the page is shown as a whole."""
        return [card.asked for card in self.cards if card.whole and card.asked.status == Status.PENDING]

    @property
    def form_for_all(self) -> TogetherForm | None:
        """The form that decides all that are open; None where there is at most one."""
        sent = self.forms.get("")
        return sent or (TogetherForm(self.open) if len(self.open) > 1 else None)

    def _form_of(self, asked: Any) -> TogetherForm:
        return self.forms.get(str(asked.pk)) or form_of(asked)


def form_of(asked: Any, data: Mapping[str, Any] | None = None) -> TogetherForm:
    """Return the form that decides one request of the group."""
    return MemberForm([asked], data, auto_id=f"{asked.pk}_%s")


def _load(rows: Sequence[Any]) -> None:
    """Read what is large of these, as far as it fits the page; `asked_whole` says of which that is true."""
    room = MOST_BYTES
    fitting = []
    for row in sorted(rows, key=lambda row: row.status != Status.PENDING):
        row.asked_whole = False
        if row.weight <= min(LARGE, room):
            room -= row.weight
            fitting.append(row)
    queries.load_large(fitting, LARGE)
