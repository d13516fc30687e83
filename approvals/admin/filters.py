"""Filters of the admin's lists: by the value of a column, by typed text, and by dates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import Exists, Q, QuerySet
from django.http import HttpRequest

from approvals.reports.periods import parse_moment

Rows = QuerySet[Any]

LONGEST_VALUE = 200

Condition: TypeAlias = Callable[[str], Q | Exists]


class ColumnFilter(admin.SimpleListFilter):
    """Filters by the value of `column`, one of `options`."""

    column: str
    options: Sequence[tuple[str, str]] = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:
        return self.options

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        return queryset.filter(**{self.column: self.value()}) if self.value() else queryset


def column_filter(
    name: str, options: Sequence[tuple[str, str]], *, title: str = "", column: str = ""
) -> type[ColumnFilter]:
    """Make a filter by a column; `name` is its parameter, and unless told otherwise its title and column."""
    about = {"title": title or name, "parameter_name": name, "column": column or name, "options": options}
    return type("ColumnFilter", (ColumnFilter,), about)


def in_words(value: str) -> str:
    """Write the value of an enumeration for people: `timed_out` as `Timed out`."""
    return value.replace("_", " ").capitalize()


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedField:
    """One text input of a filter; `kind` is its HTML type.

    `where` makes the condition, and raises ValueError or OverflowError for a text that is not `what`.
    """

    name: str
    label: str
    where: Condition
    what: str = ""
    kind: str = "text"


class TypedFilter(admin.ListFilter):
    """A filter with text inputs, for values that are too many to list."""

    template = "admin/approvals/_typed.html"
    fields: tuple[TypedField, ...]

    def __init__(
        self, request: HttpRequest, params: dict[str, list[str]], model: Any, model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        for field in self.fields:
            given = params.pop(field.name, None)
            if given and (value := given[-1].replace("\0", "").strip()[:LONGEST_VALUE]):
                self.used_parameters[field.name] = value

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return [field.name for field in self.fields]

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        """Yield what the template shows: the inputs, and the rest of the query string."""
        own = [field.name for field in self.fields]
        yield {
            "fields": [(field, self.used_parameters.get(field.name, "")) for field in self.fields],
            "kept": [(name, value) for name, value in changelist.params.items() if name not in own],
            "clear": changelist.get_query_string(remove=own) if self.used_parameters else "",
        }

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        for field in self.fields:
            if text := str(self.used_parameters.get(field.name, "")):
                try:
                    queryset = queryset.filter(field.where(text))
                except (ValueError, OverflowError):
                    messages.error(request, f"{field.label}: {text!r} is not {field.what}.")
                    return queryset.none()
        return queryset


def typed_filter(title: str, *fields: TypedField) -> type[TypedFilter]:
    """Make a filter with these text inputs."""
    return type("TypedFilter", (TypedFilter,), {"title": title, "fields": fields})


def equals(column: str) -> Condition:
    """Return the condition that a column has the text as its value."""
    return lambda text: Q(**{column: text})


def days(name: str, since: str, until: str = "until") -> Iterator[TypedField]:
    """Yield inputs for the first and last day of the column `name`_at, both included, with these labels.

    Links may give exact times instead.
    """
    for side, label, lookup in (("from", since, "gte"), ("until", until, "lt")):
        where = partial(_compare, f"{name}_at__{lookup}", past=side == "until")
        yield TypedField(name=f"{name}_{side}", label=label, where=where, what="a date", kind="date")


def _compare(lookup: str, text: str, *, past: bool) -> Q:
    return Q(**{lookup: as_moment(text, past=past)})


def as_moment(text: str, *, past: bool = False) -> datetime:
    """Read a day, as its begin or with `past` its end, or a moment. Raises ValueError or OverflowError."""
    # An unescaped plus sign in a query string arrives as a space.
    return parse_moment(text.replace(" ", "+"), end=past)
