"""A request's row against its entries: what it has come to must follow from what is on its trail."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from approvals.audit import as_text
from approvals.lifecycle import Status, Verdict
from approvals.models import Event
from approvals.payloads import canonical

# The columns of a request that its trail vouches for.
ROW = (
    "id",
    "kind",
    "status",
    "requester_id",
    "required",
    "four_eyes",
    "on_timeout",
    "deadline",
    "opened_at",
    "closed_at",
    "decided_by_id",
    "approvals",
    "trail_length",
    "trail_head",
    "title",
    "details",
    "arguments",
    "answer",
    "final_arguments",
    "comment",
)
Row: TypeAlias = Mapping[str, Any]


class Response(NamedTuple):
    """A row of what a person said; what it says is compared while the entry's content is retained."""

    actor: int | None
    verdict: str
    given_at: str
    channel: str


@dataclass(slots=True)
class Story:
    """What the entries of one request tell, taken in order. `told` is what is still retained of the words."""

    opened: Mapping[str, Any] | None = None
    closed: Mapping[str, Any] | None = None
    last: Mapping[str, Any] | None = None
    approvals: int = 0
    responses: set[Response] = field(default_factory=set)
    told: dict[str, str] = field(default_factory=dict)
    words_missing: bool = False
    # Entries whose content is gone though no removal that names them is on record since.
    unexplained: set[int] = field(default_factory=set)

    def take(self, named: Mapping[str, Any], content: str | None) -> None:
        """The next entry: what it says, and what was shown or said, if that is retained.

        Raises where that is not in the form in which it is written: who makes a chain anew writes anything.
        """
        event, outcome = named["event"], named["outcome"]
        if self.opened is None:
            self.opened = named
        if outcome:
            self.closed = named
        self.last = named
        if event == Event.PURGED:
            self._take_removal(named["sequence"], content)
        elif content is None:
            self.unexplained.add(named["sequence"])
        if event in {Event.DECIDED, Event.ANSWERED}:
            self._take_response(named)
        if event in {Event.OPENED, Event.DECIDED, Event.PURGED} or outcome:
            self._take_words(event, outcome, None if content is None else json.loads(content))

    def _take_removal(self, sequence: int, content: str | None) -> None:
        """It names what was removed; once that is gone, too, it may have been all before it, and a later one
        names it."""
        if content is None:
            self.unexplained = {sequence}
        else:
            self.unexplained.difference_update(json.loads(content)["entries"])

    def _take_response(self, named: Mapping[str, Any]) -> None:
        verdict = ""
        if named["event"] == Event.DECIDED:
            # A rejection closes the request at once: whoever did not reject, approved.
            verdict = Verdict.REJECT if named["outcome"] == Status.REJECTED else Verdict.APPROVE
        self.approvals += verdict == Verdict.APPROVE
        self.responses.add(
            Response(
                actor=named["actor"],
                verdict=str(verdict),
                given_at=named["recorded_at"],
                channel=named["channel"],
            )
        )

    def _take_words(self, event: str, outcome: str, content: dict[str, Any] | None) -> None:
        if content is None:
            self.words_missing = self.words_missing or event == Event.DECIDED
            return
        match event:
            case Event.OPENED:
                for name in ("title", "details", "arguments"):
                    self.told[name] = canonical(content[name])
            case Event.PURGED:
                # What it kept of contents that it took away.
                kept = content.get("kept", {})
                for name in {"title", "details", "arguments", "final_arguments"} & kept.keys():
                    self.told[name] = canonical(kept[name])
            case Event.DECIDED if content["arguments"] is not None:
                self.told["final_arguments"] = canonical(content["arguments"])
            case Event.ANSWERED:
                self.told["answer"] = canonical(content["answer"])
        if outcome:
            comment = content.get("reason" if event == Event.WITHDRAWN else "comment", "")
            self.told["comment"] = canonical(comment)


def disagreements(row: Row, responses: set[Response], story: Story) -> Iterator[str]:
    """What the row says otherwise than its trail, one sentence each."""
    for name, expected in _expected(story).items():
        if row[name] != expected:
            yield f"The row says {name} {_shown(row[name])}, the trail {_shown(expected)}."
    if story.opened and not _asked_by(row["requester_id"], story.opened):
        yield f"The row says requester {row['requester_id']}, whom the trail does not name."
    if responses != story.responses:
        yield _about_responses(responses - story.responses, story.responses - responses)
    for name, text in story.told.items():
        if canonical(row[name]) != text:
            yield f"The {name} of the row is not what was shown or said."
    if row["final_arguments"] is not None and not story.words_missing and "final_arguments" not in story.told:
        yield "The row has edited arguments, which nobody has given."


def _expected(story: Story) -> dict[str, Any]:
    closed = story.closed
    expected: dict[str, Any] = {
        "status": closed["outcome"] if closed else Status.PENDING.value,
        "closed_at": _moment(closed["recorded_at"]) if closed else None,
        "decided_by_id": closed["actor"] if closed else None,
        "approvals": story.approvals,
    }
    if story.opened and story.opened["event"] == Event.OPENED:
        expected["opened_at"] = _moment(story.opened["recorded_at"])
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


def _asked_by(requester: int | None, opened: Mapping[str, Any]) -> bool:
    """Who acts on nobody's behalf asks for himself, or for nobody in particular."""
    if opened["on_behalf_of"] is not None:
        return bool(requester == opened["on_behalf_of"])
    return requester in (None, opened["actor"])


def _about_responses(surplus: set[Response], missing: set[Response]) -> str:
    who = ", ".join(sorted({str(each.actor or "a program") for each in surplus | missing}))
    return (
        f"The responses on record are not those of the trail: {len(surplus)} that it does not know,"
        f" {len(missing)} that are not there (of {who})."
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _shown(value: object) -> str:
    return as_text(value) if isinstance(value, datetime) else repr(value)
