"""Dictionaries over the requests of one kind."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, MutableMapping, ValuesView
from typing import Generic, TypeVar
from uuid import UUID

from approvals import queries
from approvals.database.threads import in_database_now
from approvals.domain.lifecycle import Outcome
from orchestration.events.records import EventRecords

V = TypeVar("V")


class EventMapping(MutableMapping[str, V | None], Generic[V]):
    """A dictionary over the record, whichever process wrote it.

    Inside an event loop a read blocks the loop until the database answers: prefer `wait_for_*` there.
    """

    def __init__(
        self,
        events: EventRecords,
        value: Callable[[Outcome], V | None],
        *,
        ask: Callable[[str], None],
        decide: Callable[[str, V], None],
    ) -> None:
        self._events = events
        self._value = value
        self._ask = ask
        self._decide = decide

    def __getitem__(self, event_id: str) -> V | None:
        self._events.wait_for_writes(event_id)
        return self._value(in_database_now(self._events.visible, event_id))

    def __setitem__(self, event_id: str, value: V | None) -> None:
        """Ask where the value is None, else decide; the first result counts."""
        if value is None:
            self._ask(event_id)
        else:
            self._decide(event_id, value)

    def __delitem__(self, event_id: str) -> None:
        """Forget the id, and hide it until it is set again; KeyError where it is unknown or hidden."""
        self._events.wait_for_writes(event_id)
        self._hide({event_id: UUID(in_database_now(self._events.visible, event_id).request_id)})

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return repr(dict(self.items()))

    def items(self) -> ItemsView[str, V | None]:
        """Return a snapshot of ids and values."""
        found = self._all()
        outcomes = in_database_now(queries.outcomes, found.values())
        return {event_id: self._value(outcomes[pk]) for event_id, pk in found.items()}.items()

    def values(self) -> ValuesView[V | None]:
        """Return a snapshot of the values."""
        return dict(self.items()).values()

    def popitem(self) -> tuple[str, V | None]:
        """Remove the newest id, and return it with its value."""
        found = list(self._all())
        if not found:
            raise KeyError("there is none")
        return found[-1], self.pop(found[-1])

    def clear(self) -> None:
        """Hide all ids from this mapping. The requests stay on record."""
        self._hide(self._all())

    def _all(self) -> dict[str, UUID]:
        self._events.wait_for_writes()
        return in_database_now(self._events.all_visible)

    def _hide(self, ids: Mapping[str, UUID]) -> None:
        for event_id in ids:
            self._events.forget(event_id)
        self._events.hide(ids)
