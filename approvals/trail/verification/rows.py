"""Compare a request's row with its entries: the row must follow from the trail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from approvals.database.stored_columns import NO_FORM
from approvals.domain.lifecycle import REMOVED, Status, Verdict
from approvals.domain.payloads import canonical, digest, read_canonical
from approvals.models import ORIGIN_ID_LIMIT, Event
from approvals.writer import chain
from approvals.writer.chain import as_text

# The question, by the names of the row and of the content of its first entry.
ASKED = (
    "title",
    "details",
    "arguments",
    "editable",
    "choices",
    "multiple",
    "schema",
    "default",
    "origin",
    "callback_url",
)
SAID = ("answer", "final_arguments", "comment")
# Values of a row before anything is said, and after words were removed.
_WORDLESS: Mapping[str, Any] = {
    "title": REMOVED,
    "details": "",
    "arguments": {},
    "editable": False,
    "choices": None,
    "schema": None,
    "default": None,
    "answer": None,
    "final_arguments": None,
    "comment": "",
}
Row: TypeAlias = Mapping[str, Any]


class Response(NamedTuple):
    """A response without its words."""

    actor: int | None
    verdict: str
    given_at: str
    channel: str


class Words(NamedTuple):
    """The words of a response."""

    answer: Any
    arguments: Any
    comment: Any


class Assigned(NamedTuple):
    """The users and groups that are named to decide."""

    users: frozenset[int]
    groups: frozenset[int]


Responses: TypeAlias = Mapping[Response, Words]


@dataclass(slots=True)
class Story:
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
    # The first entry with a policy that does not follow from the trail.
    bent_at: int | None = None
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
        if self.bent_at is None and self.last is not None and _is_bent(named, self.last):
            self.bent_at = named["sequence"]
        self.last = named
        self._take_facts(event, named)
        if event == Event.PURGED:
            self._take_removal(named, content)
        elif content is None:
            self.unexplained.add(named["sequence"])
        if event in {Event.OPENED, Event.DECIDED, Event.PURGED, Event.REASSIGNED, Event.ANSWERED} or outcome:
            words = None if content is None else read_canonical(content)
            self._take_response(named, words)
            self._take_assigned(event, words)
            self._take_words(event, outcome, words)

    def _take_facts(self, event: str, named: Mapping[str, Any]) -> None:
        if named["format"] < 4:
            return
        if event == Event.OPENED and named is self.opened:
            self.asked = named["facts"]
        if event in {Event.OPENED, Event.REASSIGNED}:
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
        )
        self.responses[response] = None if content is None else _read_words(event, content)

    def _has_said(self, actor: int | None) -> bool:
        """Whether the actor has responded: a repeated vote closes a request whose other votes count again."""
        return any(response.actor == actor for response in self.responses)

    def _take_assigned(self, event: str, content: Mapping[str, Any] | None) -> None:
        match event:
            case Event.OPENED | Event.REASSIGNED:
                self.handed_on = event == Event.REASSIGNED
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


def disagreements(row: Row, responses: Responses, assigned: Assigned, story: Story) -> Iterator[str]:
    """Yield a sentence for each difference between the row, its responses and assignments, and the trail."""
    for name, expected in _expected_columns(story).items():
        if row[name] != expected:
            yield f"The row says {name} {_text_of(row[name])}, the trail {_text_of(expected)}."
    if story.opened and story.asked is None and not _is_asked_by(row["requester_id"], story.opened):
        yield f"The row says requester {row['requester_id']}, whom the trail does not name."
    if story.bent_at is not None:
        yield f"Entry {story.bent_at} was made under another policy than that before it."
    yield from _about_origin(row, story)
    yield from _about_removal(row, story)
    yield from _about_responses(responses, story)
    if story.assigned is not None and assigned != story.assigned:
        yield f"Named to decide are {_join_names(assigned)}, on the trail {_join_names(story.assigned)}."
    elif story.assignees not in (None, chain.hash_of_assignees(*assigned)):
        yield f"Named to decide are {_join_names(assigned)}, on the trail others."
    yield from _about_words(row, story)


def _about_origin(row: Row, story: Story) -> Iterator[str]:
    told = story.told.get("origin")
    asked = story.asked["origin"] if story.asked is not None else told and digest(told)
    if asked and digest(canonical(row["origin"])) != asked:
        yield "The origin of the row is not the one that it was asked with."
    elif row["origin_id"] != row["origin"].get("id", "")[:ORIGIN_ID_LIMIT]:
        yield f"The row says origin_id {_text_of(row['origin_id'])}, which does not follow from its origin."


def _about_removal(row: Row, story: Story) -> Iterator[str]:
    at = row["purged_at"] and as_text(row["purged_at"])
    if at != story.purged_at and at not in story.perhaps_purged:
        expected = story.purged_at and _moment(story.purged_at)
        yield f"The row says purged_at {_text_of(row['purged_at'])}, the trail {_text_of(expected)}."
    rest = chain.hash_of_rest(multiple=row["multiple"], callback_url=row["callback_url"])
    if story.rest not in (None, rest):
        yield "What was left of the question when it was removed is not what the row says."


def _about_words(row: Row, story: Story) -> Iterator[str]:
    for name in (*ASKED, *SAID):
        if name == "origin":
            continue  # stays on the trail when other words are removed
        if name in story.told:
            if canonical(row[name]) != story.told[name]:
                yield f"The {name} of the row is not what was shown or said."
        elif name in _WORDLESS and not story.unexplained and row[name] != _WORDLESS[name]:
            yield f"The row has {name}, which nothing on its trail has given it."
    if story.closed and story.closed["outcome"] == Status.TIMED_OUT and not story.answers_as_asked:
        yield "Its timeout gave another answer than the default that was asked with it."


def _about_responses(responses: Responses, story: Story) -> Iterator[str]:
    surplus, missing = responses.keys() - story.responses.keys(), story.responses.keys() - responses.keys()
    if surplus or missing:
        yield (
            f"The responses on record are not those of the trail: {len(surplus)} that it does not know,"
            f" {len(missing)} that are not there (of {', '.join(sorted(map(_whose, surplus | missing)))})."
        )
    for response in responses.keys() & story.responses.keys():
        words, told = responses[response], story.responses[response]
        if told is None:
            if story.unexplained:
                continue
            # What was edited stays when who edited it is forgotten: it is what was approved.
            edited = canonical(words.arguments) == story.told.get("final_arguments")
            told = Words(answer=None, arguments=words.arguments if edited else None, comment="")
        if canonical(list(words)) != canonical(list(told)):
            yield f"The response of {_whose(response)} is not what was said."


def _whose(response: Response) -> str:
    return "a program" if response.actor is None else str(response.actor)


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


def _join_names(assigned: Assigned) -> str:
    users = [f"user {number}" for number in sorted(assigned.users)]
    groups = [f"group {number}" for number in sorted(assigned.groups)]
    return ", ".join(users + groups) or "none"


def _is_bent(named: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether the policy differs from that of the entry before; only rescheduling moves a deadline."""
    if min(named["format"], before["format"]) < 3:
        return False
    now, then = dict(named["policy"]), dict(before["policy"])
    if named["event"] == Event.RESCHEDULED:
        now["deadline"] = then["deadline"]
    return (named["kind"], now) != (before["kind"], then)


def _expected_columns(story: Story) -> dict[str, Any]:
    closed = story.closed
    expected: dict[str, Any] = {
        "status": closed["outcome"] if closed else Status.PENDING.value,
        "closed_at": _moment(closed["recorded_at"]) if closed else None,
        "decided_by_id": closed["actor"] if closed else None,
        "approvals": story.approvals,
    }
    if story.opened and story.opened["event"] == Event.OPENED:
        expected["opened_at"] = _moment(story.opened["recorded_at"])
    if story.asked is not None:
        expected |= {name: story.asked[name] for name in ("key", "key_scope", "round", "fingerprint")}
        expected["requester_id"] = story.asked["requester"]
    if story.last and story.last["format"] > 2:
        policy = story.last["policy"]
        expected |= {
            "kind": story.last["kind"],
            "required": policy["required"],
            "four_eyes": policy["four_eyes"],
            "on_timeout": policy["on_timeout"],
            "deadline": policy["deadline"] and _moment(policy["deadline"]),
        }
    return expected


def _is_asked_by(requester: int | None, opened: Mapping[str, Any]) -> bool:
    """Whether the requester is the one on whose behalf it was opened, else the actor, or nobody."""
    if opened["on_behalf_of"] is not None:
        return bool(requester == opened["on_behalf_of"])
    return requester in (None, opened["actor"])


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _text_of(value: object) -> str:
    return as_text(value) if isinstance(value, datetime) else repr(value)
