"""The base of all admin pages: lists, and rows that staff can read and nobody can edit.

Lists are as fast with a million rows as with ten: rows are not counted, and pages are not numbered. A page
begins after a row, which the index of the list's order finds. So new rows do not move the others, and the
last page costs no more than the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from approvals.admin.filters import as_moment
from approvals.database.clock import database_now
from approvals.templatetags.sayso import iso
from approvals.web.edge import own_pages

if TYPE_CHECKING:
    Rows = QuerySet[Any]
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin

OLDER, NEWER, OLDEST = "older", "newer", "oldest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which page: rows `older` or `newer` than one row, the `oldest`, or by default the newest."""

    which: str = ""
    moment: datetime | None = None
    key: Any = None

    @classmethod
    def parse(cls, text: str, key: Any) -> Page:
        """Read `older,<moment>,<key>` as `link` writes it. Raises IncorrectLookupParameters otherwise."""
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
        """Return these rows from the page's begin on, in the order in which the database reads them."""
        rows = rows.order_by(by, "pk") if self.backwards else rows.order_by(f"-{by}", "-pk")
        if self.moment is None:
            return rows
        past = "gt" if self.backwards else "lt"
        # This condition first and alone, so that an index serves it.
        rows = rows.filter(**{f"{by}__{past}e": self.moment})
        return rows.filter(Q(**{f"{by}__{past}": self.moment}) | Q(**{f"pk__{past}": self.key}))


class PagedChangeList(ChangeList):
    """A change list with pages that follow each other; `links` lead to the others."""

    model_admin: ListAdmin
    links: dict[str, str]

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        super().__init__(request, *args)
        self.title = capfirst(str(self.opts.verbose_name_plural))

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        """Remove U+0000, which PostgreSQL refuses."""
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


class ListAdmin(ModelAdmin):
    """The base of all pages. `get_queryset` has the rows that a person may see.

    Lists are sorted by the column `moment`, newest first; it needs an index with the key. `page` returns what
    the page of a row shows. `views` are further pages: addresses below the list's, with their methods.
    """

    moment: str
    page_template: str
    views: ClassVar[Mapping[str, str]] = {}
    id_fields: tuple[str, ...] = ()
    """Columns of ids; a search for an id looks there, and not for words."""
    change_list_template = "admin/approvals/records.html"
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    sortable_by = ()

    def page(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        raise NotImplementedError

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the page of one row. It has no form, so it needs no transaction."""
        row = self.find_row(request, object_id)
        return self.render_page(request, self.page_template, {"original": row, **self.page(request, row)})

    def find_row(self, request: HttpRequest, object_id: str) -> Any:
        """Return the row that an address names. PermissionDenied or Http404 where it may not be seen."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404(f"There is no {self.opts.verbose_name} {object_id!r}, or you may not see it.")
        return row

    def render_page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
        """Render a template with the context that every admin page has."""
        around = {**self.admin_site.each_context(request), "opts": self.opts, "now": database_now()}
        return TemplateResponse(request, template, {**around, **context})

    def get_urls(self) -> list[Any]:
        """Add the `views`, named by their methods without `_view`."""
        named = f"{self.opts.app_label}_{self.opts.model_name}"
        own = [
            path(
                address,
                self.admin_site.admin_view(getattr(self, method)),
                name=f"{named}_{method.removesuffix('_view')}",
            )
            for address, method in self.views.items()
        ]
        return own_pages.own([*own, *super().get_urls()])

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_active and request.user.is_staff)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_search_results(self, request: HttpRequest, queryset: Rows, search_term: str) -> tuple[Rows, bool]:
        if self.id_fields and (found := uuid_or_none(search_term.strip())) is not None:
            return queryset.filter(Q(*((name, found) for name in self.id_fields), _connector=Q.OR)), False
        return super().get_search_results(request, queryset, search_term)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list without the sidebar: the list and its filters need the space."""
        if request.method == "POST":
            request.POST = self._with_keys_only(request.POST)  # type: ignore[assignment]  # nobody adds to it
        return super().changelist_view(request, {"is_nav_sidebar_enabled": False, **(extra_context or {})})

    def _with_keys_only(self, sent: QueryDict) -> QueryDict:
        """Remove ticked values that can't be keys: the database would refuse them."""
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


def moment_column(name: str, words: str, *, empty: str | None = None) -> Callable[[Any, Any], Any]:
    """Make the method of a list's column that shows the moment `name` of each row."""

    @admin.display(description=words, empty_value=empty)
    def column(_: Any, row: Any) -> SafeString | None:
        return moment_of(getattr(row, name))

    return column


def count_column(name: str, words: str) -> Callable[[Any, Any], Any]:
    """Make the method of a list's column that shows the number `name` of each row; nothing for 0."""

    @admin.display(description=words, empty_value="")
    def column(_: Any, row: Any) -> int | None:
        return getattr(row, name) or None

    return column


def moment_of(moment: datetime | None) -> SafeString | None:
    """Show a time in short form, in UTC; admin.js changes it to the reader's time zone."""
    if moment is None:
        return None
    utc = moment.astimezone(UTC)
    exact, short = f"{utc:%Y-%m-%d %H:%M:%S} UTC", f"{utc:%Y-%m-%d %H:%M} UTC"
    return format_html('<time class="moment" datetime="{}" title="{}">{}</time>', iso(utc), exact, short)


def uuid_or_none(text: str) -> UUID | None:
    """Read a UUID; None for any other text."""
    try:
        return UUID(text)
    except ValueError:
        return None
