"""Lists of what is on record, as quick at a million rows as at ten: no counts, and pages that follow.

A page begins behind a row, not at a number: its rows are found by the index of the list's order. So rows
that come meanwhile move nothing, and the last page costs what the first does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.dateparse import parse_date
from django.utils.text import capfirst

from approvals.admin.read_only import ReadOnlyAdmin

if TYPE_CHECKING:
    Rows = QuerySet[Any]

OLDER, NEWER, OLDEST = "older", "newer", "oldest"
LONGEST_VALUE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which page: the rows `older` or `newer` than one, the `oldest` of all, or, by default, the newest."""

    which: str = ""
    moment: datetime | None = None
    key: Any = None

    @classmethod
    def parse(cls, text: str, key: Any) -> Page:
        """`older,<moment>,<key>` as `link` writes it; IncorrectLookupParameters where it is not."""
        which, _, row = text.partition(",")
        if which not in {OLDER, NEWER}:
            return cls(which=OLDEST if which == OLDEST else "")
        moment, _, name = row.partition(",")
        try:
            return cls(which=which, moment=as_moment(moment), key=key.to_python(name))
        except (ValueError, OverflowError, ValidationError) as error:
            raise IncorrectLookupParameters(error) from None

    @staticmethod
    def link(which: str, moment: datetime, key: Any) -> str:
        return f"{which},{moment.astimezone(UTC).isoformat()},{key}"

    @property
    def backwards(self) -> bool:
        return self.which in {NEWER, OLDEST}

    def of(self, rows: Rows, by: str) -> Rows:
        """These rows from the page's begin, in the order in which they are to be read from the database."""
        rows = rows.order_by(by, "pk") if self.backwards else rows.order_by(f"-{by}", "-pk")
        if self.moment is None:
            return rows
        past = "gt" if self.backwards else "lt"
        # Said first and alone, so that an index serves.
        rows = rows.filter(**{f"{by}__{past}e": self.moment})
        return rows.filter(Q(**{f"{by}__{past}": self.moment}) | Q(**{f"pk__{past}": self.key}))


class PagedChangeList(ChangeList):
    """A change list whose pages follow each other. `links` lead to others, where there are any."""

    model_admin: ListAdmin
    links: dict[str, str]

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        super().__init__(request, *args)
        self.title = capfirst(str(self.opts.verbose_name_plural))

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        """Without U+0000, which PostgreSQL refuses."""
        found: dict[str, Any] = super().get_filters_params(params)
        return {name: [one.replace("\0", "") for one in given] for name, given in found.items()}

    def get_results(self, request: HttpRequest) -> None:
        by, most = self.model_admin.moment, self.list_per_page
        page = Page.parse(request.GET.get(PAGE_VAR, ""), self.model._meta.pk)
        found = list(page.of(self.queryset, by)[: most + 1])
        if page.which == NEWER and len(found) <= most:
            page = Page()
            found = list(page.of(self.queryset, by)[: most + 1])
        more, rows = len(found) > most, found[:most]
        if page.backwards:
            rows.reverse()
        older = page.which == NEWER or (more and not page.backwards)
        newer = page.which == OLDER or (more and page.backwards)
        self.links = self._links(rows, by, older=older, newer=newer)
        self.result_list = rows
        self.result_count = self.full_result_count = len(rows)
        self.show_full_result_count = self.show_admin_actions = True
        self.can_show_all = self.multi_page = False
        self.paginator = Paginator(rows, most)

    def _links(self, rows: Sequence[Any], by: str, *, older: bool, newer: bool) -> dict[str, str]:
        links = {}
        if newer and rows:
            links["newest"] = self.get_query_string()
            links["newer"] = self._to(NEWER, rows[0], by)
        if older and rows:
            links["older"] = self._to(OLDER, rows[-1], by)
            links["oldest"] = self.get_query_string({PAGE_VAR: OLDEST})
        return links

    def _to(self, which: str, row: Any, by: str) -> str:
        return self.get_query_string({PAGE_VAR: Page.link(which, getattr(row, by), row.pk)})


class ListAdmin(ReadOnlyAdmin):
    """`moment` is the column that the list is ordered by, newest first; with the key, of an index."""

    moment: str
    change_list_template = "admin/records.html"
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Wide as the page: a list and its filters need the place that the other lists' names take."""
        if request.method == "POST":
            request.POST = self._with_keys_only(request.POST)  # type: ignore[assignment]  # nobody adds to it
        return super().changelist_view(request, {"is_nav_sidebar_enabled": False, **(extra_context or {})})

    def _with_keys_only(self, sent: QueryDict) -> QueryDict:
        """Without what is ticked and can be no row's key: the database would refuse to look for it."""
        kept = sent.copy()
        ticked = [one for one in sent.getlist(ACTION_CHECKBOX_NAME) if self._is_key(one)]
        kept.setlist(ACTION_CHECKBOX_NAME, ticked)
        return kept

    def _is_key(self, text: str) -> bool:
        try:
            self.opts.pk.clean(text, None)
        except ValidationError:
            return False
        return True

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return PagedChangeList

    def get_ordering(self, request: HttpRequest) -> tuple[str, str]:
        return f"-{self.moment}", "-pk"


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedField:
    """One field of a filter that is typed in. `kind` is the input's type."""

    name: str
    label: str
    kind: str = "text"


class TypedFilter(admin.ListFilter):
    """A filter that people type into: names are too many to list, and moments too many to name."""

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
        """What its template shows: its fields, and the rest of the query string to be kept."""
        own = set(self._names)
        yield {
            "fields": [(field, self.value(field.name)) for field in self.fields],
            "kept": [(name, value) for name, value in changelist.params.items() if name not in own],
            "clear": changelist.get_query_string(remove=sorted(own)) if self.used_parameters else "",
        }


class PeriodFilter(TypedFilter):
    """From a day on, and until a day, both included; or between moments, as links to it may say."""

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        for field in self.fields:
            text = self.value(field.name)
            if not text:
                continue
            column, _, side = field.name.rpartition("_")
            try:
                moment = as_moment(text, past=side == "until")
            except (ValueError, OverflowError):
                messages.error(request, f"{field.label}: {text!r} is no date.")
                return queryset.none()
            queryset = queryset.filter(**{f"{column}_at__{'lt' if side == 'until' else 'gte'}": moment})
        return queryset


def as_moment(text: str, *, past: bool = False) -> datetime:
    """A moment in ISO 8601, or a day: where it begins, or, `past` it, where it has ended. In UTC."""
    if "T" not in text and (day := parse_date(text)) is not None:
        return datetime.combine(day + timedelta(days=1) if past else day, time(tzinfo=UTC))
    # A plus sign in a query string that somebody wrote by hand is a space.
    moment = datetime.fromisoformat(text.replace(" ", "+"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
