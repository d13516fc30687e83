"""The filters of lists of requests, which links from reports use too."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest

from approvals import queries
from approvals.admin.filters import ColumnFilter, TypedField, days, equals, in_words, typed_filter
from approvals.database.clock import database_now
from approvals.domain.lifecycle import LEGAL_MOVES, Status
from approvals.models import GroupAssignment, HumanRequest, UserAssignment
from approvals.queries import origin_resolvers
from approvals.queries.account_names import name_field
from approvals.web.pages.access import user_id

Requests = QuerySet[HumanRequest]


class InStatus(ColumnFilter):
    title = "state"
    parameter_name = column = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        possible = (Status.PENDING, *sorted(LEGAL_MOVES[model_admin.kind]))
        return [(status.value, in_words(status.value)) for status in possible]


class AssignedToMe(admin.SimpleListFilter):
    title = "who decides"
    parameter_name = "mine"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Assigned to me")]

    def queryset(self, request: HttpRequest, queryset: Requests) -> Requests:
        if self.value() != "yes":
            return queryset
        me = user_id(request)
        return queryset.filter(
            Q(_names(UserAssignment, user=me)) | Q(_names(GroupAssignment, group__user=me))
        )


class Due(admin.SimpleListFilter):
    title = "deadline"
    parameter_name = "due"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        named = {
            "soon": "Less than a fifth of its time left",
            "overdue": "Overdue",
            "missed": "Timed out",
            "none": "No deadline",
        }
        return list(named.items())

    def queryset(self, request: HttpRequest, queryset: Requests) -> Requests:
        pending = queryset.filter(status=Status.PENDING)
        match self.value():
            case "soon":
                return pending.filter(queries.is_due_soon(database_now()))
            case "overdue":
                return pending.filter(deadline__lte=database_now())
            case "missed":
                return queryset.filter(status=Status.TIMED_OUT)
            case "none":
                return queryset.filter(deadline__isnull=True)
        return queryset


def _names(assignments: Any, **named: Any) -> Exists:
    """Return the condition that a request names a person or a group to decide it."""
    return Exists(assignments.objects.filter(request_id=OuterRef("pk"), **named))


People = typed_filter(
    "people",
    TypedField(name="requester", label="Asked by", where=equals(name_field("requester"))),
    TypedField(
        name="assignee",
        label="Assigned to",
        where=lambda name: _names(UserAssignment, **{name_field("user"): name}),
    ),
    TypedField(
        name="group",
        label="Assigned to the group",
        where=lambda name: _names(GroupAssignment, group__name=name),
    ),
    TypedField(name="decided_by", label="Decided by", where=equals(name_field("decided_by"))),
)
Dates = typed_filter("dates", *days("opened", "Asked from"), *days("closed", "Closed from"))


class Origin(admin.ListFilter):
    """Which orchestration asked; the orchestration app knows the names."""

    title = "what asks"

    def __init__(
        self, request: HttpRequest, params: dict[str, list[str]], model: Any, model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        self.resolvers = {one.word: one for one in origin_resolvers.resolvers().values()}
        for word in self.resolvers:
            if given := params.pop(word, None):
                self.used_parameters[word] = given[-1].replace("\0", "")

    def has_output(self) -> bool:
        return bool(self.resolvers)

    def expected_parameters(self) -> list[str | None]:
        return list(self.resolvers)

    def choices(self, changelist: Any) -> Any:
        yield {
            "selected": not self.used_parameters,
            "query_string": changelist.get_query_string(remove=list(self.resolvers)),
            "display": "All",
        }
        for word, resolver in self.resolvers.items():
            chosen = self.used_parameters.get(word)
            names = resolver.names()
            for name in names if chosen is None or chosen in names else [*names, chosen]:
                yield {
                    "selected": name == chosen,
                    "query_string": changelist.get_query_string({word: name}),
                    "display": name,
                }

    def queryset(self, request: HttpRequest, queryset: Requests) -> Requests:
        for word, name in self.used_parameters.items():
            # Requests without an origin are excluded first, because an index has the others.
            queryset = queryset.exclude(origin_id="").filter(self.resolvers[word].named(str(name)))
        return queryset
