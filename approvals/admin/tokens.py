"""API tokens: their owners, scopes and latest entries; they are made, shown once, and revoked."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_variables

from approvals import queries
from approvals.admin.change_lists import ListAdmin, moment_column
from approvals.admin.filters import ColumnFilter, TypedField, column_filter, days, equals, typed_filter
from approvals.database.clock import database_now
from approvals.exceptions import InvalidRequest
from approvals.models import ApiToken, AuditEntry
from approvals.queries.account_names import name_field
from approvals.web.edge import tokens
from approvals.web.edge.hidden_characters import visible
from approvals.web.edge.token_makers import issue_by, may_issue_for_others
from approvals.web.edge.tokens import Scope, State
from approvals.web.pages.access import user_id
from approvals.web.pages.forms import TokenForAnyoneForm

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
    """All tokens for people with the permission to see or revoke them; other staff see their own.

    Administrators make tokens for other accounts here; the admin's log says who made which.
    """

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

    def has_add_permission(self, request: HttpRequest) -> bool:
        return may_issue_for_others(person(request))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        tools = [("Your own tokens", reverse("tokens"))]
        if self.has_add_permission(request):
            tools.insert(0, ("Make a token…", reverse("admin:approvals_apitoken_add")))
        return super().changelist_view(request, {"list_tools": tools, **(extra_context or {})})

    @sensitive_variables("secret")
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the form (GET), or make the token and show it, in this response alone (POST)."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = TokenForAnyoneForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            said = form.cleaned_data
            try:
                token, secret = issue_by(
                    person(request), said["user"], said["name"], said["scopes"], lifetime=said["lifetime"]
                )
            except InvalidRequest as error:
                form.add_refusal(error)
            else:
                _log_maker(request, token)
                return self._show_new(
                    request, {"title": "Copy the token now", "token": token, "secret": secret}
                )
        status = HTTPStatus.UNPROCESSABLE_ENTITY if form.is_bound else HTTPStatus.OK
        return self._show_new(request, {"title": "Make a token", "form": form}, status)

    def _show_new(
        self, request: HttpRequest, context: dict[str, Any], status: HTTPStatus = HTTPStatus.OK
    ) -> HttpResponse:
        response = self.render_page(request, "admin/approvals/new_token.html", context)
        response.status_code = status
        add_never_cache_headers(response)
        return response

    def page(self, request: HttpRequest, row: ApiToken) -> dict[str, Any]:
        did = AuditEntry.objects.filter(token=row, request__in=queries.visible_to(user_id(request)))
        latest = did.select_related("request", "actor").order_by("-recorded_at", "-id")
        return {
            "title": str(row),
            "token": row,
            "made_by": _maker(row),
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


def person(request: HttpRequest) -> User:
    """Return who is logged in; nobody else gets to the admin's pages."""
    assert isinstance(request.user, get_user_model())  # noqa: S101 - see above
    return request.user


def _log_maker(request: HttpRequest, token: ApiToken) -> None:
    """Log who made the token, without the token's name: that goes when its account is forgotten."""
    LogEntry.objects.create(
        user_id=user_id(request),
        content_type=ContentType.objects.get_for_model(ApiToken),
        object_id=str(token.pk),
        object_repr=f"{token.prefix}…",
        action_flag=ADDITION,
        change_message="[]",
    )


def _maker(token: ApiToken) -> str:
    """Return the username of whoever made the token here; empty if it was made elsewhere."""
    tokens_made = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(ApiToken))
    made = tokens_made.filter(object_id=str(token.pk), action_flag=ADDITION).select_related("user")
    return "".join(entry.user.get_username() for entry in made[:1])
