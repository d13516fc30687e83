"""What changed between two JSON values, path by path, for people to read. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from approvals.domain.masking import Place, hide_headers


class _Absent:
    """Marks the side on which there is nothing."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """`path` is written as in `items[3].name`; a side that has no such value is ABSENT."""

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
    """Every value that was added, removed or replaced, in the order of `before`, then of `after`.

    That a header which carries a secret has changed is told, what it was and is is not.
    """
    return list(_changes(before, after, "", Place()))


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
    elif not _same(before, after):
        yield Change(path=path, before=_hide_secrets(before, place), after=_hide_secrets(after, place))


def _place(place: Place, before: Any, after: Any, key: str | int) -> Place:
    """On either side a secret is one."""
    sides = [place.within(before, key), place.within(after, key)]
    return max(sides, key=lambda side: side.is_secret)


def _hide_secrets(value: Any, place: Place) -> Any:
    return value if value is ABSENT else hide_headers(value, place)


def _item(values: list[Any], index: int) -> Any:
    return values[index] if index < len(values) else ABSENT


def _same(before: Any, after: Any) -> bool:
    """Equal as JSON, where true is not 1."""
    return isinstance(before, bool) == isinstance(after, bool) and bool(before == after)
