"""Audit entries: who did what, when, from where; verification of the trail; exports."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from approvals import queries
from approvals.admin.change_lists import ListAdmin, moment_column, uuid_or_none
from approvals.admin.export import ExportForm, stream
from approvals.admin.filters import TypedField, column_filter, days, equals, in_words, typed_filter
from approvals.admin.selection import page_of, request_column
from approvals.admin.timeline import policy_in_words
from approvals.database.clock import database_now
from approvals.domain.commands import Channel
from approvals.domain.lifecycle import CLOSED
from approvals.models import ApiToken, AuditEntry, Event, ShownContent
from approvals.queries.account_names import name_field
from approvals.trail import verification
from approvals.web.edge.hidden_characters import visible
from approvals.web.pages.access import user_id
from approvals.web.pages.wording import KINDS

Entries = QuerySet[AuditEntry]

EXPORT = "approvals.view_auditentry"
MOST_VERIFIED = 100
HASH_LENGTH = 64


def _of_token(text: str) -> Q:
    found = uuid_or_none(text)
    return Q(token__name=text) if found is None else Q(token=found)


def _from_address(text: str) -> Q:
    ip_address(text)  # ValueError for anything else, which PostgreSQL would refuse
    return Q(address=text)


@admin.register(AuditEntry)
class AuditEntryAdmin(ListAdmin):
    """The entries of the requests that a person may see."""

    page_template = "admin/approvals/entry.html"
    moment = "recorded_at"
    list_display = ("recorded", "happened", "of_request", "who", "came_by", "address", "allowed_by")
    list_filter = (
        column_filter("event", [(value, str(label).capitalize()) for value, label in Event.choices]),
        column_filter("outcome", [(status.value, in_words(status.value)) for status in sorted(CLOSED)]),
        column_filter("channel", [(channel.value, channel.value.capitalize()) for channel in Channel]),
        column_filter("kind", [(kind.value, noun) for kind, noun in KINDS.items()], column="request__kind"),
        typed_filter(
            "who",
            TypedField(name="actor", label="Username", where=equals(name_field("actor"))),
            TypedField(name="on_behalf_of", label="On behalf of", where=equals(name_field("on_behalf_of"))),
            TypedField(name="token", label="API token: name or id", where=_of_token),
            TypedField(name="address", label="Address", where=_from_address, what="an IP address"),
        ),
        typed_filter("dates", *days("recorded", "From (UTC)", "Until (UTC)")),
    )
    list_select_related = ("request", "actor", "on_behalf_of", "token")
    search_fields = ("request__title",)
    search_help_text = "Words of the request's title, its id or its run's, or the hash of an entry"
    id_fields = ("request", "request__origin_id")
    actions = ("verify",)
    views: ClassVar = {"verify/": "verify_view", "export/": "export_view"}
    of_request = request_column
    recorded = moment_column("recorded_at", "when")

    def get_queryset(self, request: HttpRequest) -> Entries:
        entries, seen = AuditEntry.objects.all(), queries.visible_to(user_id(request))
        if not seen.query.where:  # this person may see all
            return entries
        # EXISTS, row by row: with IN, SQLite would first list all requests that may be seen.
        return entries.filter(Exists(seen.filter(pk=OuterRef("request_id"))))

    def get_search_results(
        self, request: HttpRequest, queryset: Entries, search_term: str
    ) -> tuple[Entries, bool]:
        sought = search_term.strip()
        if len(sought) == HASH_LENGTH and sought.isalnum():
            return queryset.filter(Q(hash=sought) | Q(content_hash=sought)), False
        return super().get_search_results(request, queryset, search_term)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        tools = [("Export…", reverse("admin:approvals_auditentry_export"))]
        context = {"list_tools": tools if request.user.has_perm(EXPORT) else [], **(extra_context or {})}
        return super().changelist_view(request, context)

    def page(self, request: HttpRequest, row: AuditEntry) -> dict[str, Any]:
        entry = AuditEntry.objects.select_related("request", "actor", "on_behalf_of", "token").get(pk=row.pk)
        shown = ShownContent.objects.filter(entry=entry).first()
        return {
            "title": f"{entry.get_event_display().capitalize()}: {entry.request}",
            "entry": entry,
            "request_url": page_of(entry.request),
            "token_url": entry.token and token_url(request, entry.token),
            "shown": shown,
            "said": queries.parse_object(shown.content) if shown else None,
            "policy": policy_in_words((queries.parse_object(entry.canonical) or {}).get("policy")),
            "faults": verification.verify_request(entry.request_id),
            "others": _beside(entry),
        }

    # Verifying

    @admin.action(description="Verify", permissions=["view"])
    def verify(self, request: HttpRequest, queryset: Entries) -> HttpResponse:
        """Redirect to the verification of the trails that the ticked entries belong to."""
        ticked = request.POST.getlist(ACTION_CHECKBOX_NAME)[: self.list_per_page]
        of_entries = self.get_queryset(request).filter(pk__in=ticked)
        ids = dict.fromkeys(of_entries.values_list("request_id", flat=True))
        query = urlencode([("request", str(one)) for one in ids])
        return HttpResponseRedirect(f"{reverse('admin:approvals_auditentry_verify')}?{query}")

    def verify_view(self, request: HttpRequest) -> HttpResponse:
        """Verify the trails of the named requests that this person may see."""
        names = list(dict.fromkeys(request.GET.getlist("request")))[:MOST_VERIFIED]
        ids = [found for found in map(uuid_or_none, names) if found is not None]
        seen = {one.pk: one for one in queries.visible_to(user_id(request)).filter(pk__in=ids)}
        checked = [(seen[pk], verification.verify_request(pk)) for pk in ids if pk in seen]
        context = {
            "title": "Verification",
            "checked": [(asked, page_of(asked), faults) for asked, faults in checked],
            "broken": sum(bool(faults) for _, faults in checked),
            "at": database_now(),
        }
        return self.render_page(request, "admin/approvals/verified.html", context)

    # Export

    def export_view(self, request: HttpRequest) -> Any:
        """Ask what to export, then stream it from the database."""
        if not request.user.has_perm(EXPORT):
            raise PermissionDenied
        form = ExportForm(request.GET if "format" in request.GET else None)
        if not form.is_valid():
            return self.render_page(request, "admin/approvals/export.html", {"title": "Export", "form": form})
        format_, filters = form.cleaned_data["format"], form.filters
        types = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
        name = f"audit-{database_now():%Y%m%d-%H%M%S}.{format_}"
        return StreamingHttpResponse(
            stream(filters, format_),
            content_type=types[format_],
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    # Columns of the list

    @admin.display(description="event")
    def happened(self, entry: AuditEntry) -> SafeString:
        words = entry.get_event_display().capitalize()
        if entry.outcome and entry.outcome != entry.event:
            words = f"{words}: {entry.outcome.replace('_', ' ')}"
        return format_html('<span class="state is-{}">{}</span>', entry.outcome or entry.event, words)

    @admin.display(description="who")
    def who(self, entry: AuditEntry) -> SafeString:
        name = entry.actor.get_username() if entry.actor else "a program"
        if entry.on_behalf_of is None:
            return visible(name)
        return format_html(
            '{}<div class="quiet">for {}</div>', visible(name), visible(entry.on_behalf_of.get_username())
        )

    @admin.display(description="channel")
    def came_by(self, entry: AuditEntry) -> SafeString:
        """Show the channel, and below it the API token if there is one."""
        if entry.token is None:
            return visible(entry.channel)
        return format_html('{}<div class="quiet">{}</div>', entry.channel, visible(entry.token.name))


def token_url(request: HttpRequest, token: ApiToken) -> str | None:
    """Return the address of a token's page; None if this person may not see it, only its name."""
    admin_of_tokens = admin.site.get_model_admin(ApiToken)
    if not admin_of_tokens.get_queryset(request).filter(pk=token.pk).exists():
        return None
    return reverse("admin:approvals_apitoken_change", args=[token.pk])


def _beside(entry: AuditEntry) -> Sequence[tuple[str, int]]:
    """List the links to the entries before and after this one in its chain."""
    near = AuditEntry.objects.filter(
        request_id=entry.request_id, sequence__in=[entry.sequence - 1, entry.sequence + 1]
    )
    pks = dict(near.values_list("sequence", "pk"))
    words = (("Previous entry", entry.sequence - 1), ("Next entry", entry.sequence + 1))
    return [(word, pks[sequence]) for word, sequence in words if sequence in pks]
