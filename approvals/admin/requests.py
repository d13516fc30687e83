"""Approvals and clarifications: lists with filters, a page with the whole history, and actions to decide."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeGuard
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals import audit, deciding, permissions, selectors
from approvals.admin.choosing import Chosen, Deed
from approvals.admin.records import RecordAdmin, moment_of, user_id_of
from approvals.commands import Channel
from approvals.database import database_now
from approvals.differences import Change, changes
from approvals.exceptions import ApprovalError
from approvals.forms import AnswerForm, DecisionForm
from approvals.lifecycle import Kind, Outcome, Status, Verdict
from approvals.models import Approval, Callback, Clarification, GroupAssignment, HumanRequest, UserAssignment
from approvals.templatetags.sayso import icon, left
from approvals.web.actors import actor_of_http
from approvals.web.values import visible
from approvals.web.words import in_words, outcome_in_words

if TYPE_CHECKING:
    Requests = QuerySet[HumanRequest]


class AssignedToMe(admin.SimpleListFilter):
    title = "who decides"
    parameter_name = "mine"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Assigned to me")]

    def queryset(self, request: HttpRequest, queryset: Requests) -> Requests:
        if self.value() != "yes":
            return queryset
        user_id = user_id_of(request)
        by_name = UserAssignment.objects.filter(request_id=OuterRef("pk"), user_id=user_id)
        by_group = GroupAssignment.objects.filter(request_id=OuterRef("pk"), group__user=user_id)
        return queryset.filter(Exists(by_name) | Exists(by_group))


class Due(admin.SimpleListFilter):
    title = "deadline"
    parameter_name = "due"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("soon", "Due soon"),
            ("overdue", "Overdue"),
            ("missed", "Timed out"),
            ("none", "No deadline"),
        ]

    def queryset(self, request: HttpRequest, queryset: Requests) -> Requests:
        pending = queryset.filter(status=Status.PENDING)
        match self.value():
            case "soon":
                return pending.filter(deadline__lte=database_now() + selectors.OVERDUE_SOON)
            case "overdue":
                return pending.filter(deadline__lte=database_now())
            case "missed":
                return queryset.filter(status=Status.TIMED_OUT)
            case "none":
                return queryset.filter(deadline__isnull=True)
        return queryset


class RequestAdmin(RecordAdmin):
    """What both kinds of request have in common. `deeds`: what can be done to one from its page."""

    kind: Kind
    deeds: tuple[Deed, ...]
    page_template = "admin/approvals/request.html"
    list_display = ("what", "state", "ends", "decides", "requester", "asked")
    list_filter = (
        "status",
        AssignedToMe,
        Due,
        ("requester", admin.RelatedOnlyFieldListFilter),
        "opened_at",
        "closed_at",
    )
    search_fields = ("title", "key", "requester__username", "origin_id")
    search_help_text = "Title, key, who asked, run, or the request's id"
    date_hierarchy = "opened_at"
    ordering = ("-opened_at", "-id")

    def get_queryset(self, request: HttpRequest) -> Requests:
        seen = selectors.visible_to(user_id_of(request)).filter(kind=self.kind)
        return selectors.with_people(seen).order_by(*self.ordering)

    def get_search_results(
        self, request: HttpRequest, queryset: Requests, search_term: str
    ) -> tuple[Requests, bool]:
        try:
            return queryset.filter(pk=UUID(search_term.strip())), False
        except ValueError:
            return super().get_search_results(request, queryset, search_term)

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """For whoever holds the permission, or is named to decide something now."""
        user_id = user_id_of(request)
        person = permissions.persons([user_id])[user_id]
        return person.holds(permissions.DECIDE) or bool(
            selectors.inbox(user_id, kind=self.kind, mine=True, limit=1)
        )

    def page(self, request: HttpRequest, row: HumanRequest) -> dict[str, Any]:
        user_id = user_id_of(request)
        deciding.record_view(actor_of_http(request, Channel.ADMIN), row.pk)
        asked = selectors.request_for(user_id, row.pk)
        pending = asked.status == Status.PENDING
        return {
            "title": str(asked),
            "asked": asked,
            "edits": _edits(asked),
            "trail": [in_words(entry, asked.required) for entry in selectors.history(asked)],
            "broken": audit.verify(asked),
            "callback": Callback.objects.filter(request=asked).first(),
            "deeds": self.deeds if pending and selectors.may(user_id, asked).decide else (),
        }

    def chosen(self, request: HttpRequest, sent: QueryDict) -> Chosen:
        if not self.has_decide_permission(request):
            raise PermissionDenied
        return Chosen.named(user_id_of(request), self.kind, sent.getlist("ids"))

    @admin.display(description="request", ordering="title")
    def what(self, asked: HumanRequest) -> SafeString:
        return format_html('<span class="what">{} {}</span>', icon(asked.kind), visible(asked.title))

    @admin.display(description="state", ordering="status")
    def state(self, asked: HumanRequest) -> SafeString:
        drawing = icon("timed_out" if asked.status == Status.PENDING else asked.status)
        words = outcome_in_words(asked)
        return format_html('<span class="state is-{}">{} {}</span>', asked.status, drawing, words)

    @admin.display(description="who decides")
    def decides(self, asked: HumanRequest) -> str:
        return ", ".join(str(one) for one in asked.assignees) or "whoever may"

    @admin.display(description="asked", ordering="opened_at")
    def asked(self, request: HumanRequest) -> SafeString | None:
        return moment_of(request.opened_at)

    @admin.display(description="ends", ordering="deadline")
    def ends(self, request: HumanRequest) -> SafeString | None:
        """The time that is left, or when it was closed."""
        if request.status != Status.PENDING:
            return moment_of(request.closed_at)
        return left(request.deadline, datetime.now(UTC)) if request.deadline else None


@admin.register(Approval)
class ApprovalAdmin(RequestAdmin):
    kind = Kind.APPROVAL
    deeds = (
        Deed(url="admin:approvals_approval_decide", decision=Verdict.APPROVE.value, label="Approve…"),
        Deed(url="admin:approvals_approval_decide", decision=Verdict.REJECT.value, label="Reject…"),
    )
    actions = ("approve", "reject")

    def get_urls(self) -> list[URLPattern]:
        decide = self.admin_site.admin_view(self.decide_view)
        return [path("decide/", decide, name="approvals_approval_decide"), *super().get_urls()]

    @admin.action(description="Approve…", permissions=["decide"])
    def approve(self, request: HttpRequest, queryset: Requests) -> HttpResponse:
        return self._confirm(request, Chosen.of(user_id_of(request), queryset), Verdict.APPROVE)

    @admin.action(description="Reject…", permissions=["decide"])
    def reject(self, request: HttpRequest, queryset: Requests) -> HttpResponse:
        return self._confirm(request, Chosen.of(user_id_of(request), queryset), Verdict.REJECT)

    def decide_view(self, request: HttpRequest) -> HttpResponse:
        """GET asks for confirmation and a reason; POST decides, and tells the outcome of each request."""
        sent = request.POST if request.method == "POST" else request.GET
        chosen = self.chosen(request, sent)
        verdict = Verdict.REJECT if sent.get("decision") == Verdict.REJECT else Verdict.APPROVE
        if request.method != "POST":
            return self._confirm(request, chosen, verdict)
        form = DecisionForm(chosen.form_subject, sent)
        if not form.is_valid() or form.unreviewed:
            return self._confirm(request, chosen, verdict, form)
        results = self._decided(request, chosen, form)
        if len(results) == 1 and _is_about_the_form(results[0]):
            form.refused(results[0])
            return self._confirm(request, chosen, verdict, form)
        return chosen.told(self, request, results)

    def _decided(
        self, request: HttpRequest, chosen: Chosen, form: DecisionForm
    ) -> list[Outcome | ApprovalError]:
        actor = actor_of_http(request, Channel.ADMIN)
        verdict, comment = form.cleaned_data["decision"], form.cleaned_data["comment"]
        if form.arguments is None:
            decisions = [(request_id, verdict) for request_id in chosen.ids]
            return deciding.decide_many(actor, decisions, comment=comment)
        try:
            edited = form.arguments
            return [deciding.decide(actor, chosen.ids[0], verdict, comment=comment, arguments=edited)]
        except ApprovalError as error:
            return [error]

    def _confirm(
        self, request: HttpRequest, chosen: Chosen, verdict: Verdict, form: DecisionForm | None = None
    ) -> HttpResponse:
        form = form or DecisionForm(chosen.form_subject)
        form.fields["comment"].label = "Reason"
        context = {
            "title": "Approve?" if verdict is Verdict.APPROVE else "Reject?",
            "verdict": verdict.value,
            "chosen": chosen,
            "form": form,
            "changes": form.changes() if form.is_bound else [],
        }
        return self.shown(request, "admin/approvals/decide.html", context)


@admin.register(Clarification)
class ClarificationAdmin(RequestAdmin):
    kind = Kind.CLARIFICATION
    deeds = (Deed(url="admin:approvals_clarification_answer", label="Answer…"),)
    actions = ("answer",)

    def get_urls(self) -> list[URLPattern]:
        answer = self.admin_site.admin_view(self.answer_view)
        return [path("answer/", answer, name="approvals_clarification_answer"), *super().get_urls()]

    @admin.action(description="Answer…", permissions=["decide"])
    def answer(self, request: HttpRequest, queryset: Requests) -> HttpResponse:
        return self._confirm(request, Chosen.of(user_id_of(request), queryset))

    def answer_view(self, request: HttpRequest) -> HttpResponse:
        """GET shows the questions; POST answers all of them, once every answer can be read."""
        if request.method != "POST":
            return self._confirm(request, self.chosen(request, request.GET))
        chosen = self.chosen(request, request.POST)
        forms = {asked.pk: AnswerForm(asked, request.POST, prefix=str(asked.pk)) for asked in chosen.requests}
        readable = [form.is_valid() for form in forms.values()]
        if not all(readable):
            return self._confirm(request, chosen, forms)
        results = [self._answered(request, request_id, forms.get(request_id)) for request_id in chosen.ids]
        if forms and len(results) == 1 and _is_about_the_form(results[0]):
            forms[chosen.ids[0]].refused(results[0])
            return self._confirm(request, chosen, forms)
        return chosen.told(self, request, results)

    def _answered(
        self, request: HttpRequest, request_id: UUID, form: AnswerForm | None
    ) -> Outcome | ApprovalError:
        """What may not be seen has no form; the writer refuses it, and says so on the trail."""
        said = form.cleaned_data if form else {"answer": "", "comment": ""}
        try:
            actor = actor_of_http(request, Channel.ADMIN)
            return deciding.answer(actor, request_id, said["answer"], comment=said["comment"])
        except ApprovalError as error:
            return error

    def _confirm(
        self, request: HttpRequest, chosen: Chosen, forms: dict[UUID, AnswerForm] | None = None
    ) -> HttpResponse:
        if forms is None:
            forms = {asked.pk: AnswerForm(asked, prefix=str(asked.pk)) for asked in chosen.open}
        questions = [(asked, forms[asked.pk]) for asked in chosen.open]
        context = {"title": "Answer?", "chosen": chosen, "questions": questions}
        return self.shown(request, "admin/approvals/answer.html", context)


def _edits(asked: HumanRequest) -> list[Change]:
    edited = asked.final_arguments
    return [] if edited is None else changes(asked.arguments, edited)


def _is_about_the_form(result: Outcome | ApprovalError) -> TypeGuard[ApprovalError]:
    """The writer found the answer or the edited arguments at fault: the person can put it right."""
    return isinstance(result, ApprovalError) and result.code == "invalid"
