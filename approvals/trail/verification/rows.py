"""Compare a request's row with its entries: the row must follow from the trail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from approvals.domain.escalation import next_moment
from approvals.domain.lifecycle import RESPOND, Kind, Status
from approvals.domain.payloads import canonical, digest, read_canonical
from approvals.domain.request_terms import TERMS, Place, terms_in
from approvals.models import ORIGIN_ID_LIMIT, Event
from approvals.trail.verification.replay import ASKED, FIRST_POLICY, Assigned, Replay, Response, Words
from approvals.writer import chain
from approvals.writer.chain import as_text

_POLICY = terms_in(Place.POLICY)
SAID = ("answer", "final_arguments", "comment")
# Values of a row before anything is said, and after words were removed.
_WORDLESS: Mapping[str, Any] = {
    **{name: TERMS[name].removed for name in ASKED if TERMS[name].removed is not ...},
    "answer": None,
    "final_arguments": None,
    "comment": "",
}
Row: TypeAlias = Mapping[str, Any]
Responses: TypeAlias = Mapping[Response, Words]


def disagreements(row: Row, responses: Responses, assigned: Assigned, replay: Replay) -> Iterator[str]:
    """Yield a sentence for each difference between the row, its responses and assignments, and the trail."""
    for name, expected in _expected_columns(replay).items():
        if row[name] != expected:
            yield f"The row says {name} {_text_of(row[name])}, the trail {_text_of(expected)}."
    if replay.opened and replay.asked is None and not _is_asked_by(row["requester_id"], replay.opened):
        yield f"The row says requester {row['requester_id']}, whom the trail does not name."
    if replay.policy_changed_at is not None:
        yield f"Entry {replay.policy_changed_at} was made under another policy than that before it."
    yield from _about_origin(row, replay)
    yield from _about_group(row)
    yield from _about_removal(row, replay)
    yield from _about_responses(responses, replay)
    if replay.assigned is not None and assigned != replay.assigned:
        yield f"Named to decide are {_join_names(assigned)}, on the trail {_join_names(replay.assigned)}."
    elif replay.assignees not in (None, chain.hash_of_assignees(*assigned)):
        yield f"Named to decide are {_join_names(assigned)}, on the trail others."
    yield from _about_words(row, replay)


def _about_origin(row: Row, replay: Replay) -> Iterator[str]:
    told = replay.told.get("origin")
    asked = replay.asked["origin"] if replay.asked is not None else told and digest(told)
    if asked and digest(canonical(row["origin"])) != asked:
        yield "The origin of the row is not the one that it was asked with."
    elif row["origin_id"] != row["origin"].get("id", "")[:ORIGIN_ID_LIMIT]:
        yield f"The row says origin_id {_text_of(row['origin_id'])}, which does not follow from its origin."


def _about_group(row: Row) -> Iterator[str]:
    group = row["group"]
    if row["group_key"] != (group.get("key", "") if isinstance(group, dict) else ""):
        yield f"The row says group_key {_text_of(row['group_key'])}, which does not follow from its group."


def _about_removal(row: Row, replay: Replay) -> Iterator[str]:
    at = row["purged_at"] and as_text(row["purged_at"])
    if at != replay.purged_at and at not in replay.perhaps_purged:
        expected = replay.purged_at and _moment(replay.purged_at)
        yield f"The row says purged_at {_text_of(row['purged_at'])}, the trail {_text_of(expected)}."
    rest = chain.hash_of_rest(multiple=row["multiple"], callback_url=row["callback_url"])
    if replay.rest not in (None, rest):
        yield "What was left of the question when it was removed is not what the row says."


def _about_words(row: Row, replay: Replay) -> Iterator[str]:
    for name in (*ASKED, *SAID):
        if name == "origin":
            continue  # stays on the trail when other words are removed
        if name in replay.told:
            if canonical(row[name]) != replay.told[name]:
                yield f"The {name} of the row is not what was shown or said."
        elif name in _WORDLESS and not replay.unexplained and row[name] != _WORDLESS[name]:
            yield f"The row has {name}, which nothing on its trail has given it."
    if _is_answered_instead(row) and not row["purged_at"] and RESPOND not in row["decisions"]:
        yield "It was answered with a text, which its decisions do not allow."
    if replay.closed and replay.closed["outcome"] == Status.TIMED_OUT and not replay.answers_as_asked:
        yield "Its timeout gave another answer than the default that was asked with it."


def _is_answered_instead(row: Row) -> bool:
    return bool(row["kind"] == Kind.APPROVAL and row["status"] == Status.ANSWERED)


def _about_responses(responses: Responses, replay: Replay) -> Iterator[str]:
    surplus, missing = responses.keys() - replay.responses.keys(), replay.responses.keys() - responses.keys()
    if surplus or missing:
        yield (
            f"The responses on record are not those of the trail: {len(surplus)} that it does not know,"
            f" {len(missing)} that are not there (of {', '.join(sorted(map(_whose, surplus | missing)))})."
        )
    for response in responses.keys() & replay.responses.keys():
        words, told = responses[response], replay.responses[response]
        if told is None:
            if replay.unexplained:
                continue
            # What was edited stays when who edited it is forgotten: it is what was approved.
            edited = canonical(words.arguments) == replay.told.get("final_arguments")
            told = Words(answer=None, arguments=words.arguments if edited else None, comment="")
        if canonical(list(words)) != canonical(list(told)):
            yield f"The response of {_whose(response)} is not what was said."


def _whose(response: Response) -> str:
    return "a program" if response.actor is None else str(response.actor)


def _join_names(assigned: Assigned) -> str:
    users = [f"user {number}" for number in sorted(assigned.users)]
    groups = [f"group {number}" for number in sorted(assigned.groups)]
    return ", ".join(users + groups) or "none"


def _expected_columns(replay: Replay) -> dict[str, Any]:
    closed = replay.closed
    expected: dict[str, Any] = {
        "status": closed["outcome"] if closed else Status.PENDING.value,
        "closed_at": _moment(closed["recorded_at"]) if closed else None,
        "decided_by_id": closed["actor"] if closed else None,
        "approvals": replay.approvals,
        "escalated": replay.escalated,
    }
    if replay.opened and replay.opened["event"] == Event.OPENED:
        expected["opened_at"] = _moment(replay.opened["recorded_at"])
    if replay.asked is not None:
        expected |= {name: replay.asked[name] for name in ("key", "key_scope", "round", "fingerprint")}
        expected["requester_id"] = replay.asked["requester"]
    policy = replay.policy
    expected |= {term.name: policy[term.name] for term in _POLICY if term.name in policy}
    if replay.last and replay.last["format"] >= FIRST_POLICY:
        expected |= {
            "kind": replay.last["kind"],
            "deadline": policy["deadline"] and _moment(policy["deadline"]),
        }
    return expected | {"escalates_at": _next_step(replay, expected)}


def _next_step(replay: Replay, expected: Mapping[str, Any]) -> datetime | None:
    """Return when the next step of the escalation is due; None also for what could not be asked with one."""
    steps = read_canonical(replay.told.get("escalation", "[]"))
    if not steps:
        return None
    return next_moment(steps, replay.escalated, expected["opened_at"], expected["deadline"])


def _is_asked_by(requester: int | None, opened: Mapping[str, Any]) -> bool:
    """Whether the requester is the one on whose behalf it was opened, else the actor, or nobody."""
    if opened["on_behalf_of"] is not None:
        return bool(requester == opened["on_behalf_of"])
    return requester in (None, opened["actor"])


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _text_of(value: object) -> str:
    return as_text(value) if isinstance(value, datetime) else repr(value)
