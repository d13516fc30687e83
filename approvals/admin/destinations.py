"""Destinations: where people and groups are told, and which of these fail; for those in charge of it.

What was entered as an address is not shown again, here or anywhere.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters

from approvals.admin.change_lists import ListAdmin, moment_column, moment_of
from approvals.conf import tells_people
from approvals.delivery import addresses
from approvals.domain.telling import EVENTS
from approvals.models import Destination
from approvals.queries.account_names import name_field
from approvals.web.edge.hidden_characters import visible
from approvals.web.pages.access import NOT_RECORDED
from approvals.web.pages.forms import DestinationForm
from approvals.writer import greetings

MANAGE = "approvals.manage_destination"
PAGE = "admin/approvals/destination.html"


class Failing(admin.SimpleListFilter):
    title = parameter_name = "failing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Failing"), ("no", "Not failing")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in {"yes", "no"}:
            return queryset
        return queryset.filter(failing_since__isnull=self.value() == "no")


@admin.register(Destination)
class DestinationAdmin(ListAdmin):
    """Addresses that somebody has entered, and the mail to accounts that fails."""

    list_display = ("owner", "by", "where", "hears_of", "failing", "created")
    moment = "created_at"
    list_filter = (Failing, "kind")
    search_fields = ("label", name_field("user"), "group__name")
    search_help_text = "Person, group or label"
    list_select_related = ("user", "group")
    views: ClassVar = {"<int:destination_id>/remove/": "remove_view"}
    created = moment_column("created_at", "added")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Destination]:
        rows = Destination.objects.select_related("user", "group")
        return rows.filter(~Q(address="") | Q(failing_since__isnull=False))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) and request.user.has_perm(MANAGE)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        tools = [("Add a destination…", reverse("admin:approvals_destination_add"))]
        return super().changelist_view(request, {"list_tools": tools, **(extra_context or {})})

    @method_decorator(sensitive_post_parameters("address"))
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the form (GET), or save what it says (POST)."""
        return self._edit(request, None)

    @method_decorator(sensitive_post_parameters("address"))
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the destination with a form that changes it (GET), or change it (POST)."""
        return self._edit(request, self.find_row(request, object_id))

    def remove_view(self, request: HttpRequest, destination_id: int) -> HttpResponse:
        """Lead to its page (GET), or remove it (POST), with what was told there."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            messages.warning(request, NOT_RECORDED)
            return HttpResponseRedirect(reverse("admin:approvals_destination_change", args=[destination_id]))
        rows = Destination.objects.filter(pk=destination_id).exclude(address="")
        if not rows:
            raise Http404(f"There is no destination {destination_id}.")
        self.log_deletions(request, rows)
        rows.delete()
        messages.success(request, "It was removed: nothing is told there any more.")
        return HttpResponseRedirect(reverse("admin:approvals_destination_changelist"))

    def _edit(self, request: HttpRequest, row: Destination | None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = self._form(request, row)
        if form is not None and form.is_valid():
            saved = _save(form.cleaned_data, row)
            if row is None:
                self.log_addition(request, saved, "Added.")
            else:
                self.log_change(request, saved, "Changed.")
            messages.success(request, "It was saved.")
            return HttpResponseRedirect(reverse("admin:approvals_destination_change", args=[saved.pk]))
        context = {
            "title": "Add a destination" if row is None else f"Destination of {row.owner}",
            "destination": row,
            "original": row,
            "shown_address": _shown(row),
            "form": form,
        }
        response = self.render_page(request, PAGE, context)
        if form is not None and form.is_bound:
            response.status_code = HTTPStatus.UNPROCESSABLE_ENTITY
        return response

    def _form(self, request: HttpRequest, row: Destination | None) -> DestinationForm | None:
        """Return the form; None for the address of an account, of which its person decides."""
        if row is not None and row.is_of_account:
            return None
        initial = None if row is None else {"label": row.label, "events": row.events}
        sent = request.POST if request.method == "POST" else None
        return DestinationForm(sent, stored=row, initial=initial)

    @admin.display(description="for")
    def owner(self, row: Destination) -> SafeString:
        group = " (group)" if row.group_id is not None else ""
        return format_html("{}{}", visible(row.owner), group)

    @admin.display(description="by")
    def by(self, row: Destination) -> SafeString:
        return format_html("{} {}", row.get_kind_display(), visible(row.label))

    @admin.display(description="address")
    def where(self, row: Destination) -> SafeString:
        return visible(_shown(row))

    @admin.display(description="told about")
    def hears_of(self, row: Destination) -> str:
        return ", ".join(EVENTS[event] for event in EVENTS if event in row.events) or "nothing"

    @admin.display(description="failing since", empty_value="")
    def failing(self, row: Destination) -> SafeString | None:
        return moment_of(row.failing_since)


def _shown(row: Destination | None) -> str:
    if row is None:
        return ""
    return "the address of the account" if row.is_of_account else addresses.abbreviate(row.kind, row.address)


def _save(said: dict[str, Any], row: Destination | None) -> Destination:
    address = said.pop("address")
    if row is None:
        new = {**said, "address": addresses.encrypt(address), "to_greet": tells_people()}
        added = Destination.objects.create(**new)
        greetings.hint(added.pk)
        return added
    row.label, row.events = said["label"], said["events"]
    changed = ["label", "events"]
    if address:
        row.address, row.failing_since = addresses.encrypt(address), None
        changed += ["address", "failing_since"]
    row.save(update_fields=changed)
    return row
