"""What changed between two JSON values, path by path, for people to read. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from approvals.masking import hide_member


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
    return list(_changes(before, after, ""))


def _changes(before: Any, after: Any, path: str) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            inner = f"{path}.{key}" if path else str(key)
            yield from _changes(before.get(key, ABSENT), after.get(key, ABSENT), inner)
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            yield from _changes(_item(before, index), _item(after, index), f"{path}[{index}]")
    elif not _same(before, after):
        yield Change(path=path, before=_hidden(path, before), after=_hidden(path, after))


def _hidden(path: str, value: Any) -> Any:
    """By its place: the last two names of the path, as in `steps[0].headers.X-Api-Key`."""
    if value is ABSENT:
        return value
    *_, above, name = ["", *path.split(".")]
    return hide_member(name, value, of=above)


def _item(values: list[Any], index: int) -> Any:
    return values[index] if index < len(values) else ABSENT


def _same(before: Any, after: Any) -> bool:
    """Equal as JSON, where true is not 1."""
    return isinstance(before, bool) == isinstance(after, bool) and bool(before == after)
