"""Delegations: who decides for whom, and when; made for others and ended, never edited or deleted."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals import delegations
from approvals.admin.change_lists import ListAdmin, moment_column
from approvals.admin.filters import TypedField, column_filter, days, equals, typed_filter
from approvals.database.clock import database_now
from approvals.exceptions import InvalidRequest, NotPermitted
from approvals.models import Delegation
from approvals.queries.account_names import name_field
from approvals.queries.delegations import State, with_state
from approvals.web.edge.hidden_characters import visible
from approvals.web.pages.access import user_id
from approvals.web.pages.forms import DelegationForm

Delegations = QuerySet[Any]  # each with its `state`

WORDS = {State.NOW: "Now", State.COMING: "Coming", State.OVER: "Ended"}


def _person_column(name: str, words: str) -> Callable[[Any, Any], SafeString | None]:
    @admin.display(description=words, empty_value="a program")
    def column(_: Any, row: Any) -> SafeString | None:
        person = getattr(row, name)
        return None if person is None else visible(person.get_username())

    return column


@admin.register(Delegation)
class DelegationAdmin(ListAdmin):
    """All delegations for those with `manage_delegation`; other staff see their own, and those to them.

    The admin's log says who made or ended one here; so does the delegation itself.
    """

    page_template = "admin/approvals/delegation.html"
    list_display = ("away", "instead", "worth", "begins", "until", "maker", "made")
    moment = "made_at"
    list_filter = (
        column_filter("state", [(state.value, words) for state, words in WORDS.items()]),
        typed_filter(
            "people",
            TypedField(name="principal", label="Who is away", where=equals(name_field("principal"))),
            TypedField(name="delegate", label="Who decides instead", where=equals(name_field("delegate"))),
        ),
        typed_filter("dates", *days("made", "Made from")),
    )
    search_fields = (name_field("principal"), name_field("delegate"))
    search_help_text = "Person, or the delegation's id"
    id_fields = ("id",)
    views: ClassVar = {"<uuid:delegation_id>/end/": "end_view"}
    away = _person_column("principal", "who is away")
    instead = _person_column("delegate", "who decides instead")
    maker = _person_column("made_by", "made by")
    begins = moment_column("starts_at", "from")
    until = moment_column("ends_at", "until")
    made = moment_column("made_at", "made")

    def get_queryset(self, request: HttpRequest) -> Delegations:
        rows = Delegation.objects.select_related("principal", "delegate", "made_by", "ended_by")
        if not request.user.has_perm(delegations.MANAGE):
            me = user_id(request)
            rows = rows.filter(Q(principal=me) | Q(delegate=me))
        return with_state(rows, database_now())

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(delegations.MANAGE)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        tools = [("While you are away", reverse("away"))]
        if self.has_add_permission(request):
            tools.insert(0, ("Delegate…", reverse("admin:approvals_delegation_add")))
        return super().changelist_view(request, {"list_tools": tools, **(extra_context or {})})

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the form (GET), or make the delegation (POST)."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = DelegationForm(request.POST if request.method == "POST" else None, for_others=True)
        if form.is_valid():
            said = {**form.cleaned_data, "principal": form.cleaned_data["principal"] or request.user}
            try:
                made = delegations.delegate(**said, by=request.user)
            except (InvalidRequest, NotPermitted) as error:
                form.add_refusal(error)
            else:
                return self._go_on(request, made, "Made.", "Saved.")
        response = self.render_page(
            request, "admin/approvals/new_delegation.html", {"title": "Delegate", "form": form}
        )
        response.status_code = HTTPStatus.UNPROCESSABLE_ENTITY if form.is_bound else HTTPStatus.OK
        return response

    def page(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return {"title": _title_of(row), "delegation": row, "words": WORDS[State(row.state)]}

    def end_view(self, request: HttpRequest, delegation_id: UUID) -> HttpResponse:
        """Ask for confirmation (GET), or end it (POST)."""
        row = self.get_queryset(request).filter(pk=delegation_id).first()
        if row is None:
            raise Http404(f"There is no delegation {delegation_id}, or you may not see it.")
        if request.method != "POST":
            context = {**self.page(request, row), "title": "End this delegation?"}
            return self.render_page(request, "admin/approvals/end_delegation.html", context)
        if delegations.end(delegation_id, by=request.user):
            return self._go_on(request, delegation_id, "Ended.", f"Ended: {_title_of(row)}.")
        messages.info(request, "It was over already.")
        return HttpResponseRedirect(_page_of(delegation_id))

    def _go_on(self, request: HttpRequest, delegation_id: object, logged: str, told: str) -> HttpResponse:
        """Log what was done, without names, which go when an account is forgotten; and show it."""
        self.log_change(request, Delegation.objects.get(pk=delegation_id), logged)
        messages.success(request, told)
        return HttpResponseRedirect(_page_of(delegation_id))

    @admin.display(description="state")
    def worth(self, row: Any) -> SafeString:
        return format_html('<span class="state is-{}">{}</span>', row.state, WORDS[State(row.state)])


def _title_of(row: Delegation) -> str:
    return f"{row.delegate.get_username()} for {row.principal.get_username()}"


def _page_of(delegation_id: object) -> str:
    return reverse("admin:approvals_delegation_change", args=[delegation_id])
