"""API tokens: their owners, scopes and latest entries; they can be revoked."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals import queries
from approvals.admin.change_lists import ListAdmin, moment_column
from approvals.admin.filters import ColumnFilter, TypedField, column_filter, days, equals, typed_filter
from approvals.database.clock import database_now
from approvals.models import ApiToken, AuditEntry
from approvals.queries.account_names import name_field
from approvals.web.edge import tokens
from approvals.web.edge.hidden_characters import visible
from approvals.web.edge.tokens import Scope, State
from approvals.web.pages.access import user_id

Tokens = QuerySet[Any]  # each with its `state`

REVOKE = "approvals.revoke_apitoken"
SEE_ALL = "approvals.view_apitoken"
LATEST_ENTRIES = 10


class WithScope(ColumnFilter):
    title = parameter_name = "scope"
    options = [(scope.value, scope.value) for scope in Scope]

    def queryset(self, request: HttpRequest, queryset: Tokens) -> Tokens:
        """Search the JSON text of the column for the quoted scope; scopes contain no quotes."""
        return queryset.filter(scopes__contains=f'"{self.value()}"') if self.value() else queryset


@admin.register(ApiToken)
class ApiTokenAdmin(ListAdmin):
    """All tokens for people with the permission to see or revoke them; other staff see their own."""

    page_template = "admin/approvals/token.html"
    list_display = ("what", "worth", "user", "good_for", "last_used", "expires", "created")
    moment = "created_at"
    list_filter = (
        column_filter("state", [(state.value, state.value.capitalize()) for state in State]),
        WithScope,
        typed_filter("people", TypedField(name="user", label="Acts as", where=equals(name_field("user")))),
        typed_filter("dates", *days("created", "Created from")),
    )
    search_fields = ("name", "prefix", name_field("user"))
    search_help_text = "Name, user, or how the token begins"
    list_select_related = ("user",)
    views: ClassVar = {"<uuid:token_id>/revoke/": "revoke_view"}
    created = moment_column("created_at", "created")
    expires = moment_column("expires_at", "expires", empty="never")
    last_used = moment_column("last_used_at", "last used", empty="never")

    def get_queryset(self, request: HttpRequest) -> Tokens:
        rows = ApiToken.objects.select_related("user", "revoked_by")
        if not (request.user.has_perm(REVOKE) or request.user.has_perm(SEE_ALL)):
            rows = rows.filter(user_id=user_id(request))
        return tokens.with_state(rows, database_now())

    def page(self, request: HttpRequest, row: ApiToken) -> dict[str, Any]:
        did = AuditEntry.objects.filter(token=row, request__in=queries.visible_to(user_id(request)))
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
        if tokens.revoke(token_id, user_id(request)):
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
