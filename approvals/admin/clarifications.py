"""Clarifications: answered from their pages, or several from the list, each with its own answer."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest, HttpResponse

from approvals import deciding
from approvals.admin.request_filters import Requests
from approvals.admin.requests import ONE, RequestAdmin, is_about_the_form
from approvals.admin.selection import Selection
from approvals.domain.commands import Channel
from approvals.domain.lifecycle import Kind, Outcome
from approvals.exceptions import ApprovalError
from approvals.models import Clarification
from approvals.web.edge.actors import actor_of_http
from approvals.web.pages.forms import AnswerForm


@admin.register(Clarification)
class ClarificationAdmin(RequestAdmin):
    kind = Kind.CLARIFICATION
    actions = ("answer",)
    views: ClassVar = {"answer/": "answers_view", f"{ONE}answer/": "answer_view", **RequestAdmin.views}

    @admin.action(description="Answer…", permissions=["decide"])
    def answer(self, request: HttpRequest, queryset: Requests) -> HttpResponse:
        return self._confirm(request, self.selection(request, request.POST.getlist(ACTION_CHECKBOX_NAME)))

    def answer_view(self, request: HttpRequest, request_id: UUID) -> HttpResponse:
        """Answer one request. Everybody who may see it may try; the writer records a refusal."""
        return self._answer_all(request, self.selection_of_one(request, request_id))

    def answers_view(self, request: HttpRequest) -> HttpResponse:
        """Show the questions (GET), or answer all of them if every answer is valid (POST)."""
        sent = request.POST if request.method == "POST" else request.GET
        return self._answer_all(request, self.selection(request, sent.getlist("ids")))

    def _answer_all(self, request: HttpRequest, chosen: Selection) -> HttpResponse:
        if request.method != "POST":
            return self._confirm(request, chosen)
        forms = {asked.pk: AnswerForm(asked, request.POST, prefix=str(asked.pk)) for asked in chosen.requests}
        readable = [form.is_valid() for form in forms.values()]
        if not all(readable):
            return self._confirm(request, chosen, forms)
        results = [
            self._record_answer(request, request_id, forms.get(request_id)) for request_id in chosen.ids
        ]
        if forms and len(results) == 1 and is_about_the_form(results[0]):
            forms[chosen.ids[0]].add_refusal(results[0])
            return self._confirm(request, chosen, forms)
        return self.show_results(request, chosen.results_of(results))

    def _record_answer(
        self, request: HttpRequest, request_id: UUID, form: AnswerForm | None
    ) -> Outcome | ApprovalError:
        """Record an answer. Without a form (the request may not be seen) the writer records a refusal."""
        said = form.cleaned_data if form else {"answer": "", "comment": ""}
        try:
            actor = actor_of_http(request, Channel.ADMIN)
            return deciding.answer(actor, request_id, said["answer"], comment=said["comment"])
        except ApprovalError as error:
            return error

    def _confirm(
        self, request: HttpRequest, chosen: Selection, forms: dict[UUID, AnswerForm] | None = None
    ) -> HttpResponse:
        if forms is None:
            forms = {asked.pk: AnswerForm(asked, prefix=str(asked.pk)) for asked in chosen.open}
        questions = [(asked, forms[asked.pk]) for asked in chosen.open]
        context = {
            "title": "Answer?",
            "chosen": chosen,
            "questions": questions,
            "address": self._url("answers"),
        }
        return self.render_page(request, "admin/approvals/answer.html", context)
