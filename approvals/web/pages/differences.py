"""The differences between JSON values, for people to read: path by path, or by name among many. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from approvals.domain.masking import Place, hide_headers
from approvals.web.pages.json_values import ABSENT, same


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference. `path` is written as in `items[3].name`; a side without such a value is ABSENT."""

    path: str
    before: Any
    after: Any

    @property
    def added(self) -> bool:
        return self.before is ABSENT

    @property
    def removed(self) -> bool:
        return self.after is ABSENT


def changes(before: Any, after: Any) -> list[Change]:
    """List every value that was added, removed or replaced, in the order of `before`, then of `after`.

    The values of headers that carry secrets are hidden; that they changed is listed.
    """
    return list(_changes(before, after, "", Place()))


def edits_of(asked: Any) -> list[Change]:
    """List the changes with which a request's arguments were approved; empty where there are none."""
    return [] if asked.final_arguments is None else changes(asked.arguments, asked.final_arguments)


def differing_names(objects: Sequence[Mapping[str, Any]]) -> list[str]:
    """List the names whose values are not the same, to the letter, in all of these objects, in their order.

    Every object has all the names.
    """
    return [name for name in objects[0] if len({_text_of(each[name]) for each in objects}) > 1]


def _changes(before: Any, after: Any, path: str, place: Place) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            inner = f"{path}.{key}" if path else str(key)
            within = _place(place, before, after, key)
            yield from _changes(before.get(key, ABSENT), after.get(key, ABSENT), inner, within)
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            within = _place(place, before, after, index)
            yield from _changes(_item(before, index), _item(after, index), f"{path}[{index}]", within)
    elif not same(before, after):
        yield Change(path=path, before=_hide_secrets(before, place), after=_hide_secrets(after, place))


def _text_of(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _place(place: Place, before: Any, after: Any, key: str | int) -> Place:
    """Return the place of the side that holds a secret, if either does."""
    sides = [place.within(before, key), place.within(after, key)]
    return max(sides, key=lambda side: side.is_secret)


def _hide_secrets(value: Any, place: Place) -> Any:
    return value if value is ABSENT else hide_headers(value, place)


def _item(values: list[Any], index: int) -> Any:
    return values[index] if index < len(values) else ABSENT
