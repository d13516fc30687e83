"""Which request or run is meant by the first characters of its id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias
from uuid import UUID

from django.contrib.auth.models import User

from approvals import queries
from approvals.management.screen import Misuse, one_line
from approvals.queries import short_ids

HELP = f"or its first characters, at least {short_ids.SHORTEST}"
LISTED = 10

# Returns the ids from the first to the last with their titles, newest first, up to a number.
Between: TypeAlias = Callable[[UUID, UUID, int], Sequence[tuple[object, str]]]


def find_request_id(person: User, text: str) -> str:
    """Return the id of the request that the person may see and whose id begins with this text.

    A whole id is returned as it is, and so is text with which no such id begins: what uses it refuses it.
    `Misuse` if the text is too short, or several ids begin with it.
    """

    def between(first: UUID, last: UUID, limit: int) -> Sequence[tuple[object, str]]:
        return queries.titles_between(person.pk, first, last, limit)

    return find_id(text, "requests", between)


def find_origin_id(text: str) -> str:
    """Return the id of the run that asked something and whose id is, or begins with, this text.

    Text with which none begins is returned as it is. `Misuse` as `find_request_id`.
    """
    if len(text) < short_ids.SHORTEST:
        raise _too_short("--run")
    found = queries.origins_beginning(text, LISTED + 1)
    return text if text in found else _the_only_one(text, "runs", [(each, "") for each in found], "--run")


def find_id(text: str, noun: str, between: Between, name: str = "ID") -> str:
    """Return the id, of those that `between` finds, that begins with this text, as `find_request_id` does.

    `name` is that of the option.
    """
    try:
        ids = short_ids.range_of(text)
    except short_ids.TooShort:
        raise _too_short(name) from None
    if ids is None or ids[0] == ids[1]:
        return text
    return _the_only_one(text, noun, between(*ids, LISTED + 1), name)


def _too_short(name: str) -> Misuse:
    return Misuse(f"{name} must be an id, {HELP}.")


def _the_only_one(text: str, noun: str, found: Sequence[tuple[object, str]], name: str) -> str:
    if len(found) > 1:
        lines = [f"  {found_id} {one_line(title)}".rstrip() for found_id, title in found[:LISTED]]
        more = ["  …"] if len(found) > LISTED else []
        heading = f"{name} must be longer: the ids of several {noun} begin with {text!r}."
        raise Misuse("\n".join([heading, *lines, *more]))
    return str(found[0][0]) if found else text
