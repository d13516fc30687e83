"""What a browser sent of a form with rows and optional parts: which there are, what is ticked and chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import QueryDict

MORE, LESS = "more", "less"
"""Names of the buttons that add a row to the list, or remove the row, named by their value."""

NOTHING = "nothing"
"""Name of the button that Enter in a field or a box presses: nothing is done with what was sent."""

MOST_ROWS = 500
LONGEST_ID = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What was sent. `new` names a row that was added just now: nothing was sent of it yet."""

    data: Mapping[str, Any]
    prefix: str = ""
    new: str = ""

    def knows(self, name: str) -> bool:
        """Tell whether anything of this part can have been sent."""
        return not self.new or not is_within(name, self.new)

    def ids(self, name: str) -> list[str]:
        sent = dict.fromkeys(one for one in self._all(name) if _is_id(one))
        return list(sent)[:MOST_ROWS]

    def has(self, name: str) -> bool:
        return self._html(name) in self.data

    def chosen(self, name: str) -> str:
        return str(self.data.get(self._html(name), ""))

    def changed(self, name: str, field: forms.Field) -> bool:
        """Tell whether the field came back with another value than it was first shown with."""
        data = field.widget.value_from_datadict(self.data, {}, self._html(name))
        return bool(field.has_changed(field.initial, data))

    def _all(self, name: str) -> list[str]:
        if isinstance(self.data, QueryDict):
            return self.data.getlist(self._html(name))
        one = self.data.get(self._html(name), [])
        return [str(each) for each in one] if isinstance(one, list | tuple) else [str(one)]

    def _html(self, name: str) -> str:
        return f"{self.prefix}-{name}" if self.prefix else name


def is_within(name: str, outer: str) -> bool:
    """Tell whether a name is that of a part, or of something inside it."""
    return name.startswith(outer) and name[len(outer) :][:1] in {"", ".", "[", "<"}


def is_rearranged(data: Mapping[str, Any]) -> bool:
    """Tell whether a button was pressed that only adds or removes a row, or the one that does nothing."""
    return MORE in data or LESS in data or NOTHING in data


def rearrange(data: Mapping[str, Any]) -> tuple[QueryDict, str]:
    """Add or remove the row; return the changed form data, and the name of the new row, `list[id]`."""
    changed = QueryDict(mutable=True)
    changed.update(data)
    changed.pop(NOTHING, None)
    new = ""
    for name in changed.pop(MORE, []):
        ids = [int(one) for one in changed.getlist(str(name)) if _is_id(one)]
        added = str(max(ids, default=-1) + 1)
        changed.appendlist(str(name), added)
        new = f"{name}[{added}]"
    for row in changed.pop(LESS, []):
        name, _, removed = str(row).removesuffix("]").rpartition("[")
        changed.setlist(name, [one for one in changed.getlist(name) if one != removed])
    return changed, new


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= LONGEST_ID
