"""Replay a request's entries: what they say that its row, responses and assignments must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from approvals.database.stored_columns import NO_FORM
from approvals.domain.lifecycle import Status, Verdict
from approvals.domain.payloads import canonical, read_canonical
from approvals.domain.request_terms import Place, terms_in
from approvals.models import Event
from approvals.writer import chain

# The question, by the names of the row and of the content of its first entry.
ASKED = tuple(term.name for term in terms_in(Place.ROW | Place.ENTRY) if Place.POLICY not in term.places)
# The first format of entries that name a policy, and the terms that policies of that format lack.
FIRST_POLICY = 3
_LATER = [term for term in terms_in(Place.POLICY) if term.since > FIRST_POLICY]

# Events that say who decides from then on, and those whose words a row, its responses or assignments have.
_NAMING = frozenset({Event.OPENED, Event.REASSIGNED, Event.ESCALATED})
_WITH_WORDS = _NAMING | {Event.DECIDED, Event.PURGED, Event.ANSWERED}


class Response(NamedTuple):
    """A response without its words."""

    actor: int | None
    verdict: str
    given_at: str
    channel: str
    on_behalf_of: int | None


class Words(NamedTuple):
    """The words of a response."""

    answer: Any
    arguments: Any
    comment: Any


class Assigned(NamedTuple):
    """The users and groups that are named to decide."""

    users: frozenset[int]
    groups: frozenset[int]


@dataclass(slots=True)
class Replay:
    """What the entries of one request say, taken in order. `told` has the words that were not removed."""

    opened: Mapping[str, Any] | None = None
    closed: Mapping[str, Any] | None = None
    last: Mapping[str, Any] | None = None
    approvals: int = 0
    # With their words; None where those were removed.
    responses: dict[Response, Words | None] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    # None: removed.
    assigned: Assigned | None = None
    handed_on: bool = False
    # How many steps of its escalation were done.
    escalated: int = 0
    # The facts of the first entry, which are never removed; None in older formats.
    asked: Mapping[str, Any] | None = None
    # The hash of those who were named last, if an entry has it.
    assignees: str | None = None
    # When the question was first removed for its age, and when it may have been: a removal whose own content
    # is gone does not say what it removed.
    purged_at: str | None = None
    perhaps_purged: set[str] = field(default_factory=set)
    # The hash of what the removal left of the question, if an entry has it.
    rest: str | None = None
    # The policy by the latest entry that names each of its parts; by default what could not be asked for yet.
    policy: dict[str, Any] = field(default_factory=dict)
    # The first entry with a policy that does not follow from the trail.
    policy_changed_at: int | None = None
    # Entries without content that no later removal names.
    unexplained: set[int] = field(default_factory=set)

    @property
    def answers_as_asked(self) -> bool:
        """Whether the answer is the default, if both are known."""
        both = {"answer", "default"} <= self.told.keys()
        return not both or self.told["answer"] == self.told["default"]

    def take(self, named: Mapping[str, Any], content: str | None) -> bool:
        """Take the next entry: what it says, and its content, unless that was removed.

        Return False if it is malformed: a forged chain may have anything.
        """
        try:
            self._take(named, content)
        except NO_FORM:
            return False
        return True

    def _take(self, named: Mapping[str, Any], content: str | None) -> None:
        event, outcome = named["event"], named["outcome"]
        if self.opened is None:
            self.opened = named
        if outcome:
            self.closed = named
        self._take_policy(named)
        self.last = named
        self._take_facts(event, named)
        if event == Event.PURGED:
            self._take_removal(named, content)
        elif content is None:
            self.unexplained.add(named["sequence"])
        self.escalated += event == Event.ESCALATED
        if event in _WITH_WORDS or outcome:
            words = None if content is None else read_canonical(content)
            self._take_response(named, words)
            self._take_assigned(event, words)
            self._take_words(event, outcome, words)

    def _take_policy(self, named: Mapping[str, Any]) -> None:
        """Take the policy, which is that of the entry before; only rescheduling moves a deadline."""
        for term in _LATER:
            if named["format"] < term.since:
                self.policy.setdefault(term.name, term.to_row(term.default))
        if named["format"] < FIRST_POLICY:
            return
        changed = {name for name, value in named["policy"].items() if self.policy.get(name, value) != value}
        if named["event"] == Event.RESCHEDULED:
            changed.discard("deadline")
        if self.policy_changed_at is None and (changed or _has_other_form(named, self.last)):
            self.policy_changed_at = named["sequence"]
        self.policy |= named["policy"]

    def _take_facts(self, event: str, named: Mapping[str, Any]) -> None:
        if named["format"] < 4:
            return
        if event == Event.OPENED and named is self.opened:
            self.asked = named["facts"]
        if event in _NAMING:
            self.assignees = named["facts"]["assignees"]
        if event == Event.PURGED:
            self.rest = named["facts"].get("rest", self.rest)

    def _take_removal(self, named: Mapping[str, Any], content: str | None) -> None:
        """Take a removal, whose content names the entries whose content it removed.

        If that is gone, too, it may have been all before it, and a later removal names this one.
        """
        removed = None if content is None else read_canonical(content)
        if removed is None:
            self.unexplained = {named["sequence"]}
        else:
            self.unexplained.difference_update(removed["entries"])
        if self.purged_at is None:
            match _scope(named, removed):
                case chain.REQUEST:
                    self.purged_at = named["recorded_at"]
                case None:
                    self.perhaps_purged.add(named["recorded_at"])

    def _take_response(self, named: Mapping[str, Any], content: Mapping[str, Any] | None) -> None:
        event, verdict = named["event"], ""
        if event not in {Event.DECIDED, Event.ANSWERED} or self._has_said(named["actor"]):
            return
        if event == Event.DECIDED:
            # A rejection closes the request at once: any other decision is an approval.
            verdict = Verdict.REJECT if named["outcome"] == Status.REJECTED else Verdict.APPROVE
        self.approvals += verdict == Verdict.APPROVE
        response = Response(
            actor=named["actor"],
            verdict=str(verdict),
            given_at=named["recorded_at"],
            channel=named["channel"],
            on_behalf_of=named["on_behalf_of"],
        )
        self.responses[response] = None if content is None else _read_words(event, content)

    def _has_said(self, actor: int | None) -> bool:
        """Whether the actor has responded: a repeated vote closes a request whose other votes count again."""
        return any(response.actor == actor for response in self.responses)

    def _take_assigned(self, event: str, content: Mapping[str, Any] | None) -> None:
        match event:
            case Event.OPENED | Event.REASSIGNED | Event.ESCALATED:
                self.handed_on = event != Event.OPENED
                self.assigned = None if content is None else _read_assigned(content)
            case Event.PURGED if content and "users" in content.get("kept", {}) and not self.handed_on:
                self.assigned = _read_assigned(content["kept"])

    def _take_words(self, event: str, outcome: str, content: dict[str, Any] | None) -> None:
        if content is None:
            return
        match event:
            case Event.OPENED:
                self._take_question({"title": content["title"], **content})
            case Event.PURGED:
                # What the removal kept of the contents that it removed.
                kept = content.get("kept", {})
                self._take_question(kept)
                if "final_arguments" in kept:
                    self.told["final_arguments"] = canonical(kept["final_arguments"])
            case Event.DECIDED if content["arguments"] is not None:
                self.told["final_arguments"] = canonical(content["arguments"])
            case Event.ANSWERED:
                self.told["answer"] = canonical(content["answer"])
            case Event.TIMED_OUT if "default" in content:
                self.told["answer"] = canonical(content["default"])
        if outcome:
            comment = content.get("reason" if event == Event.WITHDRAWN else "comment", "")
            self.told["comment"] = canonical(comment)

    def _take_question(self, content: Mapping[str, Any]) -> None:
        for name in ASKED:
            if name in content:
                self.told[name] = canonical(content[name])


def _read_words(event: str, content: Mapping[str, Any]) -> Words:
    if event == Event.DECIDED:
        return Words(answer=None, arguments=content["arguments"], comment=content["comment"])
    return Words(answer=content["answer"], arguments=None, comment=content["comment"])


def _read_assigned(content: Mapping[str, Any]) -> Assigned:
    return Assigned(users=frozenset(content["users"]), groups=frozenset(content["groups"]))


def _scope(named: Mapping[str, Any], removed: Mapping[str, Any] | None) -> str | None:
    """Return the scope of a removal; None if nothing says it any more."""
    if named["format"] > 3:
        return str(named["facts"]["scope"])
    if removed is None:
        return None
    return chain.REQUEST if "before" in removed else chain.PERSON


def _has_other_form(named: Mapping[str, Any], before: Mapping[str, Any] | None) -> bool:
    """Whether the kind is another than before, or the policy of the same format has other parts."""
    if before is None or before["format"] < FIRST_POLICY:
        return False
    other_parts = named["format"] == before["format"] and named["policy"].keys() != before["policy"].keys()
    return other_parts or bool(named["kind"] != before["kind"])
