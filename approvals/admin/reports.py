"""The report page, its files, and the lists of the requests behind its figures."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.db.models.functions import ExtractHour, ExtractIsoWeekDay, Now
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from approvals import queries
from approvals.admin.filters import as_moment, in_words
from approvals.admin.request_filters import AssignedToMe, Dates, Due, InStatus, Origin, People, Requests
from approvals.admin.requests import RequestAdmin
from approvals.admin.selection import page_of
from approvals.database.clock import database_now
from approvals.domain.lifecycle import Status
from approvals.models import HumanRequest
from approvals.queries import origin_resolvers, permissions
from approvals.reports import BadPeriod, By, Period, documents, labels, presentation, report
from approvals.reports.figures import DECIDED
from approvals.reports.periods import DAY, midnight
from approvals.web.pages.access import user_id

READ = "approvals.view_report"
SEE_ALL = f"approvals.{permissions.SEE_ALL}"
LENGTHS = (7, 30, 90, 365)
HOUR_OF_WEEK = re.compile(r"([0-6])-([01][0-9]|2[0-3])")


@dataclass(slots=True)
class Choice:
    """What the form chose, as sent, with `errors` by field. The default is the last 30 days, by day."""

    since: str
    until: str
    by: str
    errors: dict[str, str] = field(default_factory=dict)
    period: Period | None = None

    @classmethod
    def from_request(cls, request: HttpRequest, now: datetime) -> Choice:
        given = request.GET
        choice = cls(given.get("since", ""), given.get("until", ""), given.get("by") or By.DAY.value)
        try:
            choice.period = Period.parse(choice.since.strip(), choice.until.strip(), now)
        except BadPeriod as error:
            choice.errors[error.field] = f"This {error}."
        if choice.by not in set(By):
            choice.errors["by"] = f"This must be one of {', '.join(By)}."
        return choice

    @property
    def days(self) -> tuple[str, str]:
        """The first and the last day, for the form's inputs; as they were sent if they make no period."""
        if self.period is None:
            return self.since, self.until
        last = self.period.until - timedelta(microseconds=1)
        return f"{self.period.since:%Y-%m-%d}", f"{last:%Y-%m-%d}"

    def query(self, **others: str) -> str:
        """Write the query string of this choice, with other values instead."""
        sent = {"since": self.since, "until": self.until, "by": self.by, **others}
        return "?" + urlencode({name: value for name, value in sent.items() if value})


def report_view(request: HttpRequest) -> HttpResponse:
    """Show the report that was chosen, or send it as a file with `format`."""
    if not request.user.has_perm(READ):
        raise PermissionDenied
    now = database_now()
    choice = Choice.from_request(request, now)
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "How decisions flow",
        "choice": choice,
        "parts": [(by.value, labels.BY[by]) for by in By],
        "lengths": [(days, choice.query(since=_days_ago(now, days), until="")) for days in LENGTHS],
    }
    if choice.period is None or choice.errors:
        return TemplateResponse(request, "admin/approvals/report.html", context, status=400)
    found = report(choice.period, By(choice.by))
    if wanted := request.GET.get("format"):
        if wanted not in documents.FORMATS:
            raise Http404(f"There is no report as {wanted!r}.")
        render, content_type = documents.FORMATS[wanted]
        named = f'attachment; filename="{documents.file_name(found, wanted)}"'
        return HttpResponse(render(found), content_type=content_type, headers={"Content-Disposition": named})
    context["files"] = [(name, choice.query(format=name)) for name in documents.FORMATS]
    links = presentation.RowLinks() if request.user.has_perm(SEE_ALL) else None
    context["shown"] = presentation.present(found, links)
    return TemplateResponse(request, "admin/approvals/report.html", context)


def _days_ago(now: datetime, days: int) -> str:
    return f"{midnight(now) - (days - 1) * DAY:%Y-%m-%d}"


class _LinkedFilter(admin.SimpleListFilter):
    """A filter that appears only when a link has set it: it offers no other values."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        value = self.used_parameters.get(self.parameter_name or "")
        return [(str(value), str(value))] if value else []


class OpenAt(_LinkedFilter):
    title = "open at"
    parameter_name = "open_at"

    def queryset(self, request: HttpRequest, queryset: Requests) -> Requests:
        if not self.value():
            return queryset
        try:
            moment = as_moment(str(self.value()))
        except (ValueError, OverflowError):
            messages.error(request, f"Open at: {self.value()!r} is not a date and time.")
            return queryset.none()
        return queryset.filter(Q(closed_at__isnull=True) | Q(closed_at__gte=moment), opened_at__lt=moment)


class OpenedIn(_LinkedFilter):
    """An hour of the week in UTC: `0-09` is Monday from 9 to 10. It has no index, so links add dates."""

    title = "opened in"
    parameter_name = "opened_in"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = self._hour_of_week()
        return [(f"{chosen[0]}-{chosen[1]:02}", presentation.hour_in_words(*chosen))] if chosen else []

    def queryset(self, request: HttpRequest, queryset: Requests) -> Requests:
        if not self.value():
            return queryset
        if (chosen := self._hour_of_week()) is None:
            messages.error(request, f"Opened in: {self.value()!r} is not an hour of the week.")
            return queryset.none()
        weekday, hour = chosen
        of_week, of_day = (extract("opened_at", tzinfo=UTC) for extract in (ExtractIsoWeekDay, ExtractHour))
        return queryset.alias(of_week=of_week, of_day=of_day).filter(of_week=weekday + 1, of_day=hour)

    def _hour_of_week(self) -> tuple[int, int] | None:
        found = HOUR_OF_WEEK.fullmatch(str(self.used_parameters.get(self.parameter_name)))
        return (int(found[1]), int(found[2])) if found else None


class Without(_LinkedFilter):
    title = "without"
    parameter_name = "without"

    def queryset(self, request: HttpRequest, queryset: Requests) -> Requests:
        match self.value():
            case By.GROUP:
                return queryset.filter(assigned_groups__isnull=True)
            case By.APPROVER:
                return queryset.filter(decided_by__isnull=True)
            case By.ORCHESTRATION:
                for resolver in origin_resolvers.resolvers().values():
                    queryset = queryset.annotate(**{resolver.word: resolver.name()})
                    queryset = queryset.filter(**{f"{resolver.word}__isnull": True})
        return queryset


class OfKind(_LinkedFilter):
    title = parameter_name = "kind"

    def queryset(self, request: HttpRequest, queryset: Requests) -> Requests:
        return queryset.filter(kind=self.value()) if self.value() else queryset


class InAnyStatus(InStatus):
    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        named = [(status.value, in_words(status.value)) for status in Status]
        return [*named, ("decided", "Decided")]

    def queryset(self, request: HttpRequest, queryset: Requests) -> Requests:
        if self.value() == "decided":
            return queryset.filter(status__in=DECIDED)
        return super().queryset(request, queryset)


@admin.register(HumanRequest)
class AnyRequestAdmin(RequestAdmin):
    """Requests of both kinds in one list, which reports count, too. Their pages are those of their kind."""

    list_filter: ClassVar[Any] = (
        OpenAt,
        OpenedIn,
        Without,
        OfKind,
        InAnyStatus,
        AssignedToMe,
        Due,
        Origin,
        People,
        Dates,
    )
    actions = None
    views: ClassVar = {"reports/": "report_view"}

    def report_view(self, request: HttpRequest) -> HttpResponse:
        return report_view(request)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        tools = [("Reports", reverse("admin:approvals_humanrequest_report"))]
        context = {"list_tools": tools if request.user.has_perm(READ) else [], **(extra_context or {})}
        return super().changelist_view(request, context)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_queryset(self, request: HttpRequest) -> Requests:
        seen = queries.visible_to(user_id(request))
        return queries.with_people(seen).annotate(now=Now())

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return False

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **extra: Any) -> HttpResponse:
        asked = self.get_object(request, unquote(object_id))
        if not isinstance(asked, HumanRequest):
            raise Http404(f"There is no request {object_id!r}, or you may not see it.")
        return HttpResponseRedirect(page_of(asked))
