"""Approvals: decided one by one from their pages or many at once from the list, with confirmation."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest, HttpResponse, QueryDict

from approvals import deciding
from approvals.admin.request_filters import Requests
from approvals.admin.requests import ONE, RequestAdmin, is_about_the_form
from approvals.admin.selection import Selection
from approvals.domain.commands import Channel
from approvals.domain.lifecycle import Kind, Outcome, Verdict
from approvals.exceptions import ApprovalError
from approvals.models import Approval
from approvals.web.edge.actors import actor_of_http
from approvals.web.pages.forms import PageDecisionForm


@admin.register(Approval)
class ApprovalAdmin(RequestAdmin):
    kind = Kind.APPROVAL
    actions = ("approve", "reject")
    views: ClassVar = {
        "decide/": "decide_view",
        f"{ONE}approve/": "approve_view",
        f"{ONE}reject/": "reject_view",
        **RequestAdmin.views,
    }

    # The form names what is ticked: the list may have changed since, and its filters don't matter.

    @admin.action(description="Approve…", permissions=["decide"])
    def approve(self, request: HttpRequest, queryset: Requests) -> HttpResponse:
        return self._confirm(request, self._ticked(request), Verdict.APPROVE)

    @admin.action(description="Reject…", permissions=["decide"])
    def reject(self, request: HttpRequest, queryset: Requests) -> HttpResponse:
        return self._confirm(request, self._ticked(request), Verdict.REJECT)

    def approve_view(self, request: HttpRequest, request_id: UUID) -> HttpResponse:
        return self._decide_one(request, request_id, Verdict.APPROVE)

    def reject_view(self, request: HttpRequest, request_id: UUID) -> HttpResponse:
        return self._decide_one(request, request_id, Verdict.REJECT)

    def decide_view(self, request: HttpRequest) -> HttpResponse:
        """Ask for confirmation and a reason (GET), or decide and show each outcome (POST)."""
        sent = request.POST if request.method == "POST" else request.GET
        verdict = Verdict.REJECT if sent.get("decision") == Verdict.REJECT else Verdict.APPROVE
        return self._decide(request, self.selection(request, sent.getlist("ids")), verdict, sent)

    def _decide_one(self, request: HttpRequest, request_id: UUID, verdict: Verdict) -> HttpResponse:
        """Decide one request. Everybody who may see it may try; the writer records a refusal."""
        data = request.POST.copy()
        data["decision"] = verdict.value
        return self._decide(request, self.selection_of_one(request, request_id), verdict, data)

    def _decide(
        self, request: HttpRequest, chosen: Selection, verdict: Verdict, data: QueryDict
    ) -> HttpResponse:
        if request.method != "POST":
            return self._confirm(request, chosen, verdict)
        form = PageDecisionForm(chosen.form_subject, data)
        if not form.is_valid():
            return self._confirm(request, chosen, verdict, form)
        if form.unreviewed and chosen.open:
            form.check_arguments()
            return self._confirm(request, chosen, verdict, form)
        results = self._record_decisions(request, chosen, form)
        if len(results) == 1 and is_about_the_form(results[0]):
            form.add_refusal(results[0])
            return self._confirm(request, chosen, verdict, form)
        return self.show_results(request, chosen.results_of(results))

    def _record_decisions(
        self, request: HttpRequest, chosen: Selection, form: PageDecisionForm
    ) -> list[Outcome | ApprovalError]:
        actor = actor_of_http(request, Channel.ADMIN)
        verdict, comment = form.cleaned_data["decision"], form.cleaned_data["comment"]
        each = [
            deciding.make_decision(actor, request_id, verdict, comment=comment, arguments=form.arguments)
            for request_id in chosen.ids
        ]
        try:
            return deciding.decide_each(each)
        except ApprovalError as error:  # the writer has no room for all of them: none is decided
            return [error] * len(each)

    def _ticked(self, request: HttpRequest) -> Selection:
        return self.selection(request, request.POST.getlist(ACTION_CHECKBOX_NAME))

    def _confirm(
        self, request: HttpRequest, chosen: Selection, verdict: Verdict, form: PageDecisionForm | None = None
    ) -> HttpResponse:
        form = form or PageDecisionForm(chosen.form_subject)
        form.fields["comment"].label = "Reason"
        context = {
            "title": "Approve?" if verdict is Verdict.APPROVE else "Reject?",
            "verdict": verdict.value,
            "address": self._url("decide"),
            "chosen": chosen,
            "form": form,
            "changes": form.changes() if form.is_bound else [],
        }
        return self.render_page(request, "admin/approvals/decide.html", context)
