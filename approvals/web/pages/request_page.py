"""What the page of one request shows to one person: facts, the form to decide or answer, the trail."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, TypeAlias

from approvals import queries
from approvals.conf import tells_people
from approvals.domain.lifecycle import AFTERWARDS, Kind, Status
from approvals.web.pages.differences import edits_of
from approvals.web.pages.forms import AnswerForm, CommentForm, HandOnForm, PageDecisionForm, ReasonForm
from approvals.web.pages.wording import deciders_in_words, entry_in_words, standing_in_words

ActForm: TypeAlias = PageDecisionForm | AnswerForm
AnyForm: TypeAlias = ActForm | HandOnForm | CommentForm

LONG_JSON = 16_000
# Ids of fields, which stand beside those of the decision.
HAND_ON, COMMENT = "hand_on_%s", "comment_%s"
# Open requests of the same origin: how many are listed, and looked at.
BESIDE, LOOKED_AT = 10, 100


@dataclass(frozen=True, kw_only=True)
class RequestPage:
    """The content of the page. `form` is what the person sent, with its errors; None: nothing yet.

    `beside`: other open requests of the same origin. `notice`: why what was sent was not done. `now`: the
    database's clock, where the page also takes comments.
    """

    asked: Any
    username: str
    rights: queries.Rights
    trail: Sequence[queries.TimelineEntry]
    beside: Sequence[Any] = ()
    form: AnyForm | None = None
    notice: str = ""
    now: datetime | None = None

    @property
    def act(self) -> str:
        """`decide` if this person can decide now, or why not: `closed`, `voted` or `watching`."""
        if self.asked.status != Status.PENDING:
            return "closed"
        if not self.rights.decide:
            return "watching"
        # Enough approvals count again: repeating the vote closes the request.
        return "voted" if self._has_voted and self.standing.missing else "decide"

    @cached_property
    def standing(self) -> queries.Standing:
        return queries.standing(self.asked)

    @property
    def context(self) -> dict[str, Any]:
        asked = self.asked
        outcome = queries.outcome_of(asked)
        requester = asked.requester.get_username() if asked.requester else None
        return {
            "asked": asked,
            "these": [asked],
            "notice": self.notice,
            "act": self.act,
            "votes_themselves": self._votes_themselves,
            "on_behalf_of": self._on_behalf(),
            "deciders": deciders_in_words(asked),
            "not_one_by_one": tells_people() and queries.are_too_many(asked),
            "ballot": queries.ballot(asked) if _is_ballot(asked) else None,
            "beside": self.beside[:BESIDE],
            "beside_more": len(self.beside) - BESIDE,
            **self._counts(),
            "arguments": outcome.arguments,
            "has_action": asked.kind == Kind.APPROVAL and bool(outcome.arguments),
            "raw_is_long": len(json.dumps(outcome.arguments)) > LONG_JSON,
            "edits": edits_of(asked),
            "trail": [
                entry_in_words(entry, asked.required, requester, asked.choices) for entry in self.trail
            ],
            "withdraw_form": ReasonForm(auto_id="withdraw_%s") if self.may_withdraw else None,
            "hand_on_form": self._hand_on_form() if self.may_hand_on else None,
            "comment_form": self._comment_form(),
            **(self._forms() if self.act == "decide" else {}),
        }

    def _counts(self) -> dict[str, Any]:
        """Count the approvals, and say what is odd about them; for a closed request the history does."""
        if self.asked.status != Status.PENDING:
            return {"counted": self.asked.approvals, "missing": 0, "standing": ""}
        standing = self.standing
        return {
            "counted": standing.counted,
            "missing": standing.missing,
            "standing": standing_in_words(standing),
        }

    @property
    def may_withdraw(self) -> bool:
        return self.rights.withdraw and self.act != "closed"

    @property
    def may_hand_on(self) -> bool:
        return self.rights.reassign and self.act != "closed"

    def _hand_on_form(self) -> HandOnForm:
        return self.form if isinstance(self.form, HandOnForm) else HandOnForm(auto_id=HAND_ON)

    def _comment_form(self) -> CommentForm | None:
        """Return the form to comment, for as long as the writer takes comments."""
        if isinstance(self.form, CommentForm):
            return self.form
        closed = self.asked.closed_at
        if self.now is None or self.asked.purged_at or (closed and self.now > closed + AFTERWARDS):
            return None
        return CommentForm(auto_id=COMMENT)

    @property
    def _has_voted(self) -> bool:
        """Whether this person has voted, or others have given each vote that they could give."""
        return self._votes_themselves or set(self.rights.decides_as) <= self._given.keys()

    @property
    def _votes_themselves(self) -> bool:
        return self.username in self._given.values()

    @cached_property
    def _given(self) -> dict[str | None, str | None]:
        """Whose votes were given, and by whom."""
        votes = [entry for entry in self.trail if entry.event == "decided"]
        return {entry.on_behalf_of or entry.actor: entry.actor for entry in votes}

    def _on_behalf(self) -> str:
        """Return on whose behalf this person would decide now; empty: on their own."""
        first = next((one for one in self.rights.decides_as if one not in self._given), self.username)
        return "" if first == self.username else first

    def _forms(self) -> dict[str, Any]:
        if self.asked.kind == Kind.CLARIFICATION:
            form = self.form if isinstance(self.form, AnswerForm) else AnswerForm(self.asked)
            return {"answer_form": form}
        decision = self.form if isinstance(self.form, PageDecisionForm) else PageDecisionForm(self.asked)
        return {"decision_form": decision, "changes": decision.changes()}


def form_for(asked: Any, data: Mapping[str, Any]) -> ActForm:
    return PageDecisionForm(asked, data) if asked.kind == Kind.APPROVAL else AnswerForm(asked, data)


def _is_ballot(asked: Any) -> bool:
    """Tell whether it is worth saying who has voted and who is still to."""
    return asked.kind == Kind.APPROVAL and (asked.required > 1 or len(asked.assignees) > 1)
