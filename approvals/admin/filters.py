"""Filters of the admin's lists: by the value of a column, by typed text, and by dates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.dateparse import parse_date

if TYPE_CHECKING:
    Rows = QuerySet[Any]

LONGEST_VALUE = 200


class ColumnFilter(admin.SimpleListFilter):
    """Filters by the value of `column`, one of `options`."""

    column: str
    options: Sequence[tuple[str, str]] = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return self.options

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        return queryset.filter(**{self.column: self.value()}) if self.value() else queryset


def in_words(value: str) -> str:
    """Write the value of an enumeration for people: `timed_out` as `Timed out`."""
    return value.replace("_", " ").capitalize()


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedField:
    """One text input of a filter. `kind` is its HTML type."""

    name: str
    label: str
    kind: str = "text"


class TypedFilter(admin.ListFilter):
    """A filter with text inputs, for values that are too many to list."""

    template = "admin/_typed.html"
    fields: tuple[TypedField, ...]

    def __init__(
        self, request: HttpRequest, params: dict[str, list[str]], model: Any, model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        for name in self._names:
            given = params.pop(name, None)
            if given and (value := given[-1].replace("\0", "").strip()[:LONGEST_VALUE]):
                self.used_parameters[name] = value

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return list(self._names)

    @property
    def _names(self) -> list[str]:
        return [field.name for field in self.fields]

    def value(self, name: str) -> str:
        return str(self.used_parameters.get(name, ""))

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        """Yield what the template shows: the inputs, and the rest of the query string."""
        own = set(self._names)
        yield {
            "fields": [(field, self.value(field.name)) for field in self.fields],
            "kept": [(name, value) for name, value in changelist.params.items() if name not in own],
            "clear": changelist.get_query_string(remove=sorted(own)) if self.used_parameters else "",
        }


class PeriodFilter(TypedFilter):
    """Filters from a day until a day, both included; links may also give exact times."""

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        for field in self.fields:
            text = self.value(field.name)
            if not text:
                continue
            column, _, side = field.name.rpartition("_")
            try:
                moment = as_moment(text, past=side == "until")
            except (ValueError, OverflowError):
                messages.error(request, f"{field.label}: {text!r} is not a date.")
                return queryset.none()
            queryset = queryset.filter(**{f"{column}_at__{'lt' if side == 'until' else 'gte'}": moment})
        return queryset


def as_moment(text: str, *, past: bool = False) -> datetime:
    """Read a time in ISO 8601, or a day as its begin or, with `past`, its end; in UTC. Raises ValueError."""
    if "T" not in text and (day := parse_date(text)) is not None:
        return datetime.combine(day + timedelta(days=1) if past else day, time(tzinfo=UTC))
    # An unescaped plus sign in a query string arrives as a space.
    moment = datetime.fromisoformat(text.replace(" ", "+"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
