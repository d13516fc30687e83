"""What a question means: all that decides what an answer to it stands for, and the fingerprint over that.

A key finds a request again only where the question is the same. Its details, timeout, callback URL and link
are no part of it: a deploy that rewords a description must not orphan what waits. Assignees count as they
were named, so that nobody has to be looked up who may be gone.

Four eyes, too, count as they were asked for: where they come from elsewhere, as from the orchestration of a
run, they are no part of the question.

What was recorded before fingerprints had a mark is compared by what was recorded then.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

from approvals.domain.lifecycle import Status
from approvals.domain.payloads import canonical
from approvals.domain.request_terms import Place, terms_in

# What a fingerprint of this form begins with; earlier ones are hexadecimal, or empty.
MARK = "2:"

_MEANT = terms_in(Place.MEANING)
# The terms that fingerprints of this form had from the beginning are those that entries had by this format.
_LATER = [term for term in _MEANT if term.since > 4]
FIELDS = ("kind", *(term.name for term in _MEANT))

# What a question says besides; of what was asked over HTTP before fingerprints had a mark, it counts, too.
BESIDE = tuple(term.name for term in terms_in(Place.BODY | Place.ROW | Place.ENTRY) if term not in _MEANT)

Meaning: TypeAlias = Mapping[str, Any]
"""The FIELDS, as a request's row has them, and `assignees`, as `named` tells them."""


class _Reviewers:
    """Stands for everybody who has the permission to decide what names nobody."""

    def __repr__(self) -> str:
        return "REVIEWERS"


REVIEWERS: Any = _Reviewers()


class Recorded(Protocol):
    """A request that was asked under the same key: its row."""

    fingerprint: Any
    status: Any
    opened_at: Any
    deadline: Any


def assignees_as_named(assignees: object) -> Any:
    """Return the assignees as JSON: names of users and groups, else ids; None means any reviewer.

    Users and groups are named by their name, whether given as objects or as texts. Order and repetitions
    make no difference. What can't be an assignee is told by its type: nobody is looked up here.
    """
    if assignees is REVIEWERS:
        return None
    if isinstance(assignees, str) or not isinstance(assignees, Iterable):
        return _describe(assignees)
    users, groups = set(), set()
    for one in assignees:
        if isinstance(one, str | int):
            users.add(one)
        elif hasattr(one, "get_username"):
            users.add(one.get_username() or one.pk)
        else:
            groups.add(getattr(one, "name", None) or getattr(one, "pk", None) or _describe(one))
    return assignees_by_name(users, groups)


def assignees_by_name(users: Iterable[str | int], groups: Iterable[str | int]) -> dict[str, Any]:
    """As `named`, of names and ids."""
    return {"users": _in_order(users), "groups": _in_order(groups)}


def meaning_of(asked: object, assignees: Any) -> dict[str, Any]:
    """Return the meaning of what has all the fields as attributes: a row, or the command that asks."""
    meaning = {name: getattr(asked, name) for name in FIELDS}
    meaning |= {term.name: term.to_row(meaning[term.name]) for term in _MEANT}
    return meaning | {"assignees": assignees}


def fingerprint(meaning: Meaning) -> str:
    """Equal meanings have equal fingerprints, in every process, for ever.

    So a term that came later than the mark counts only where a question says it.
    """
    text = canonical(said_in(meaning))
    return MARK + urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def said_in(meaning: Meaning) -> dict[str, Any]:
    """Return the meaning as fingerprints have it: of the terms that came later, those that it says."""
    unsaid = {one.name for one in _LATER if meaning[one.name] == one.to_row(one.default)}
    return {name: value for name, value in meaning.items() if name not in unsaid}


def is_past(recorded: Recorded, new_round: bool, asked_since: datetime | None) -> bool:
    """Whether who asks under the key of this request asks anew, instead of for what has come of it."""
    if recorded.status == Status.PENDING:
        return False
    return new_round or (asked_since is not None and recorded.opened_at < asked_since)


def scope_of_user(user_id: int) -> str:
    """Return whose a key is, where this user asked under it, for themselves."""
    return f"user:{user_id}"


def differences(
    meaning: Meaning,
    recorded: Recorded,
    former: str = "",
    beside: Mapping[str, Any] = MappingProxyType({}),
    *,
    four_eyes_elsewhere: bool = False,
) -> tuple[str, ...]:
    """Return the fields in which a question differs from one on record; empty: it is the same.

    `four_eyes_elsewhere`: the row has what held, which is not what the question says. `former` is what the
    question hashed to before fingerprints had a mark, where it did; `beside` what it says besides, by which
    one of that time may differ.
    """
    if not recorded.fingerprint.startswith(MARK):
        return _former_differences(meaning, recorded, former, beside)
    if fingerprint(meaning) == recorded.fingerprint:
        return ()
    on_record = meaning_of(recorded, meaning["assignees"])
    if four_eyes_elsewhere:
        on_record["four_eyes"] = meaning["four_eyes"]
    differing = _differing(meaning, on_record, FIELDS)
    # With the row's own fields and these assignees it would be the same, unless these are others.
    return differing if fingerprint(on_record) == recorded.fingerprint else (*differing, "assignees")


def _former_differences(
    meaning: Meaning, recorded: Recorded, former: str, beside: Mapping[str, Any]
) -> tuple[str, ...]:
    """By title and arguments; of what was asked over HTTP, by the whole body."""
    on_record = meaning_of(recorded, None)
    differing = _differing(meaning, on_record, ("kind", "title", "arguments"))
    if differing or former == recorded.fingerprint or not (former and recorded.fingerprint):
        return differing
    on_record |= {name: getattr(recorded, name) for name in BESIDE} | {"timeout": _timeout_of(recorded)}
    return _differing({**meaning, **beside}, on_record, (*FIELDS, *beside)) or ("assignees",)


def _timeout_of(recorded: Recorded) -> float | None:
    if recorded.deadline is None:
        return None
    return float((recorded.deadline - recorded.opened_at).total_seconds())


def _differing(one: Meaning, other: Meaning, names: Iterable[str]) -> tuple[str, ...]:
    """As JSON: to Python, true and 1 are equal."""
    return tuple(name for name in names if canonical(one[name]) != canonical(other[name]))


def _in_order(names: Iterable[str | int]) -> list[str | int]:
    return sorted(set(names), key=lambda name: (isinstance(name, int), name))


def _describe(value: object) -> str:
    return f"<{type(value).__module__}.{type(value).__qualname__}>"
