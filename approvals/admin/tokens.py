"""API tokens: their owners, scopes and latest entries; they can be revoked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals import queries
from approvals.admin.change_lists import ListAdmin
from approvals.admin.filters import ColumnFilter, PeriodFilter, TypedField, TypedFilter
from approvals.admin.read_only import moment_of, user_id_of
from approvals.database.clock import database_now
from approvals.models import ApiToken, AuditEntry
from approvals.web.edge import tokens
from approvals.web.edge.hidden_characters import visible
from approvals.web.edge.tokens import Scope, State

if TYPE_CHECKING:
    Tokens = QuerySet[Any]  # each with its `state`

REVOKE = "approvals.revoke_apitoken"
SEE_ALL = "approvals.view_apitoken"
LATEST_ENTRIES = 10


class InState(ColumnFilter):
    title = parameter_name = column = "state"
    options = [(state.value, state.value.capitalize()) for state in State]


class WithScope(ColumnFilter):
    title = parameter_name = "scope"
    options = [(scope.value, scope.value) for scope in Scope]

    def queryset(self, request: HttpRequest, queryset: Tokens) -> Tokens:
        """Search the JSON text of the column for the quoted scope; scopes contain no quotes."""
        return queryset.filter(scopes__contains=f'"{self.value()}"') if self.value() else queryset


class Of(TypedFilter):
    title = "people"
    fields = (TypedField(name="user", label="Acts as"),)

    def queryset(self, request: HttpRequest, queryset: Tokens) -> Tokens:
        return queryset.filter(user__username=self.value("user")) if self.value("user") else queryset


class Created(PeriodFilter):
    title = "dates"
    fields = (
        TypedField(name="created_from", label="Created from", kind="date"),
        TypedField(name="created_until", label="until", kind="date"),
    )


@admin.register(ApiToken)
class ApiTokenAdmin(ListAdmin):
    """All tokens for people with the permission to see or revoke them; other staff see their own."""

    page_template = "admin/approvals/token.html"
    list_display = ("what", "worth", "user", "good_for", "last_used", "expires", "created")
    moment = "created_at"
    list_filter = (InState, WithScope, Of, Created)
    search_fields = ("name", "prefix", "user__username")
    search_help_text = "Name, user, or how the token begins"
    list_select_related = ("user",)

    def get_queryset(self, request: HttpRequest) -> Tokens:
        rows = ApiToken.objects.select_related("user", "revoked_by")
        if not (request.user.has_perm(REVOKE) or request.user.has_perm(SEE_ALL)):
            rows = rows.filter(user_id=user_id_of(request))
        return tokens.with_state(rows, database_now())

    def get_urls(self) -> list[URLPattern]:
        revoke = self.admin_site.admin_view(self.revoke_view)
        return [
            path("<uuid:token_id>/revoke/", revoke, name="approvals_apitoken_revoke"),
            *super().get_urls(),
        ]

    def page(self, request: HttpRequest, row: ApiToken) -> dict[str, Any]:
        did = AuditEntry.objects.filter(token=row, request__in=queries.visible_to(user_id_of(request)))
        latest = did.select_related("request", "actor").order_by("-recorded_at", "-id")
        return {
            "title": str(row),
            "token": row,
            "latest": latest[:LATEST_ENTRIES],
            "entries_url": f"{reverse('admin:approvals_auditentry_changelist')}?token={row.pk}",
            "may_revoke": request.user.has_perm(REVOKE) and row.revoked_at is None,
        }

    def revoke_view(self, request: HttpRequest, token_id: UUID) -> HttpResponse:
        """Ask for confirmation (GET), or revoke (POST)."""
        if not request.user.has_perm(REVOKE):
            raise PermissionDenied
        token = self.get_queryset(request).filter(pk=token_id).first()
        if token is None:
            raise Http404(f"There is no API token {token_id}.")
        if request.method != "POST":
            return self.render_page(
                request, "admin/approvals/revoke.html", {"title": "Revoke?", "token": token}
            )
        if tokens.revoke(token_id, user_id_of(request)):
            messages.success(request, f"{token} was revoked: it no longer works.")
        else:
            messages.info(request, f"{token} was already revoked.")
        return HttpResponseRedirect(reverse("admin:approvals_apitoken_change", args=[token_id]))

    @admin.display(description="token")
    def what(self, token: ApiToken) -> SafeString:
        return format_html("{} <code>{}…</code>", visible(token.name), token.prefix)

    @admin.display(description="scopes")
    def good_for(self, token: ApiToken) -> str:
        return ", ".join(token.scopes)

    @admin.display(description="state")
    def worth(self, token: Any) -> SafeString:
        return format_html('<span class="state is-{}">{}</span>', token.state, token.state.capitalize())

    @admin.display(description="created")
    def created(self, token: ApiToken) -> SafeString | None:
        return moment_of(token.created_at)

    @admin.display(description="expires", empty_value="never")
    def expires(self, token: ApiToken) -> SafeString | None:
        return moment_of(token.expires_at)

    @admin.display(description="last used", empty_value="never")
    def last_used(self, token: ApiToken) -> SafeString | None:
        return moment_of(token.last_used_at)
