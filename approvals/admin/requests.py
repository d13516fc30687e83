"""What both kinds of request share: lists with filters, a page with the history, withdraw and reassign."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeGuard
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models.functions import Now
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals import deciding, queries
from approvals.admin.change_lists import ListAdmin, moment_of
from approvals.admin.request_filters import AssignedToMe, Dates, Due, InStatus, Origin, People, Requests
from approvals.admin.request_tabs import tabs_of
from approvals.admin.selection import Selection, page_of, result_of
from approvals.admin.timeline import timeline
from approvals.domain.commands import Actor, Channel
from approvals.domain.lifecycle import Kind, Outcome, Status
from approvals.domain.questions import REVIEWERS
from approvals.exceptions import ApprovalError
from approvals.models import Callback, HumanRequest
from approvals.queries import people_reads, permissions
from approvals.templatetags.sayso import icon, time_left, time_since
from approvals.trail import verification
from approvals.web.edge.actors import actor_of_http
from approvals.web.edge.hidden_characters import visible
from approvals.web.pages.access import is_opened_by_person, record_view, user_id
from approvals.web.pages.differences import edits_of
from approvals.web.pages.forms import PlainForm, ReasonForm, ReassignForm
from approvals.web.pages.results import Result
from approvals.web.pages.wording import outcome_in_words

ONE = "<uuid:request_id>/"


class RequestAdmin(ListAdmin):
    """The base of the admin of approvals and of clarifications."""

    kind: Kind
    moment = "opened_at"
    page_template = "admin/approvals/request.html"
    list_display = ("what", "state", "ends", "decides", "requester", "age")
    list_filter = (InStatus, AssignedToMe, Due, Origin, People, Dates)
    search_fields = ("title", "key")
    search_help_text = "Words of the title, the key, or the id of the request or of its run"
    id_fields = ("pk", "origin_id")
    views: ClassVar = {f"{ONE}withdraw/": "withdraw_view", f"{ONE}reassign/": "reassign_view"}

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Leave the kinds out of the list of models: they are tabs of the list of requests."""
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        tabs = tabs_of(request, str(self.opts.model_name))
        return super().changelist_view(request, {"tabs": tabs, **(extra_context or {})})

    def get_queryset(self, request: HttpRequest) -> Requests:
        seen = queries.visible_to(user_id(request)).filter(kind=self.kind)
        return queries.with_people(seen).annotate(now=Now())

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Tell whether a person holds the permission or is named in a pending request.

        Django asks for each action; the answer is kept for the rest of the page.
        """
        answers: dict[Kind, bool] = vars(request).setdefault("may_decide", {})
        if self.kind not in answers:
            answers[self.kind] = self._decides_something(user_id(request))
        return answers[self.kind]

    def _decides_something(self, me: int) -> bool:
        may_decide_all = people_reads.persons([me])[me].holds(permissions.DECIDE)
        return may_decide_all or bool(queries.list_inbox(me, kind=self.kind, mine=True, limit=1))

    # One request's page

    def page(self, request: HttpRequest, row: HumanRequest) -> dict[str, Any]:
        if is_opened_by_person(request):
            record_view(actor_of_http(request, Channel.ADMIN), row.pk)
        asked = self.visible_request(request, row.pk)
        trail = queries.history(asked)
        standing = queries.standing(asked) if asked.status == Status.PENDING else None
        voted = any(one.event == "decided" and one.actor == request.user.get_username() for one in trail)
        voted = voted and standing is not None and standing.missing > 0
        return {
            "title": str(asked),
            "asked": asked,
            "these": [asked],
            "edits": edits_of(asked),
            "trail": timeline(asked, trail),
            "faults": verification.verify_request(asked.pk),
            "callback": Callback.objects.filter(request=asked).first(),
            "page_actions": self._page_actions(request, asked, voted=voted),
        }

    def _page_actions(
        self, request: HttpRequest, asked: HumanRequest, *, voted: bool
    ) -> list[tuple[str, str]]:
        """List what can be done to the request; each address asks for confirmation first."""
        if asked.status != Status.PENDING:
            return []
        rights = queries.rights_of(user_id(request), asked)
        acts = list(map(str, self.actions or ())) if rights.decide and not voted else []
        acts += ["reassign"] if rights.reassign else []
        acts += ["withdraw"] if rights.withdraw else []
        return [(f"{act.title()}…", self._url(act, asked.pk)) for act in acts]

    # Withdraw and reassign

    def withdraw_view(self, request: HttpRequest, request_id: UUID) -> HttpResponse:
        """Ask for confirmation and a reason (GET), or withdraw (POST)."""
        asked, form = self.visible_request(request, request_id), ReasonForm(request.POST or None)

        def withdraw(actor: Actor) -> Outcome:
            return deciding.withdraw(actor, request_id, form.cleaned_data["reason"])

        return self._change_one(request, asked, form, act="withdraw", change=withdraw)

    def reassign_view(self, request: HttpRequest, request_id: UUID) -> HttpResponse:
        """Ask who is to decide instead (GET), or reassign (POST)."""
        asked = self.visible_request(request, request_id)
        form = ReassignForm(asked, request.POST or None)

        def reassign(actor: Actor) -> Outcome:
            users, groups = form.cleaned_data["users"], form.cleaned_data["groups"]
            return deciding.reassign(actor, request_id, users if users or groups else REVIEWERS, groups)

        return self._change_one(request, asked, form, act="reassign", change=reassign)

    def _change_one(
        self,
        request: HttpRequest,
        asked: HumanRequest,
        form: PlainForm,
        *,
        act: str,
        change: Callable[[Actor], Outcome],
    ) -> HttpResponse:
        """Ask for confirmation, or do it and redirect to the request, or to the list if it is hidden now."""
        if request.method == "POST" and form.is_valid():
            result: Outcome | ApprovalError
            try:
                result = change(actor_of_http(request, Channel.ADMIN))
            except ApprovalError as error:
                result = error
            if act == "reassign" and isinstance(result, Outcome):
                messages.success(request, format_html("{}: reassigned", visible(asked.title)))
                seen = self.get_queryset(request).filter(pk=asked.pk).exists()
                return HttpResponseRedirect(page_of(asked) if seen else self._url("changelist"))
            if not is_about_the_form(result):
                return self.show_results(request, [result_of(asked.pk, asked, result)])
            form.add_refusal(result)
        may = getattr(queries.rights_of(user_id(request), asked), act)
        context = {"title": f"{act.title()}?", "act": act.title(), "asked": asked, "form": form, "may": may}
        return self.render_page(request, "admin/approvals/confirm.html", context)

    # For the views of both kinds

    def visible_request(self, request: HttpRequest, request_id: UUID) -> HumanRequest:
        """Return a request of this kind. Raises Http404 if there is none that this person may see."""
        found = self.get_queryset(request).filter(pk=request_id).first()
        if found is None:
            raise Http404(f"There is no {self.opts.verbose_name} {request_id}, or you may not see it.")
        return found

    def selection(self, request: HttpRequest, names: Sequence[str]) -> Selection:
        """Return the requests with these ids. Raises PermissionDenied if this person decides nothing."""
        if not self.has_decide_permission(request):
            raise PermissionDenied
        return Selection.from_form(user_id(request), self.kind, names)

    def selection_of_one(self, request: HttpRequest, request_id: UUID) -> Selection:
        """Return a selection of one request. Raises Http404 if this person may not see it."""
        asked = self.visible_request(request, request_id)
        return Selection.from_form(user_id(request), self.kind, [str(asked.pk)])

    def show_results(self, request: HttpRequest, results: Sequence[Result]) -> HttpResponse:
        """Show the results: a single one as a message on its page, several as a table."""
        if len(results) == 1:
            (result,) = results
            level = messages.ERROR if result.code else messages.SUCCESS
            messages.add_message(request, level, visible(str(result)))
            return HttpResponseRedirect(result.address or self._url("changelist"))
        refused = sum(bool(result.code) for result in results)
        context = {"title": "Results", "results": results, "done": len(results) - refused, "refused": refused}
        return self.render_page(request, "admin/approvals/outcomes.html", context)

    def _url(self, name: str, *args: Any) -> str:
        return reverse(f"admin:approvals_{self.opts.model_name}_{name}", args=args)

    # Columns of the list

    @admin.display(description="request")
    def what(self, asked: HumanRequest) -> SafeString:
        return format_html('<span class="what">{} {}</span>', icon(asked.kind), visible(asked.title))

    @admin.display(description="state")
    def state(self, asked: HumanRequest) -> SafeString:
        drawing = icon("timed_out" if asked.status == Status.PENDING else asked.status)
        words = outcome_in_words(asked)
        return format_html('<span class="state is-{}">{} {}</span>', asked.status, drawing, words)

    @admin.display(description="who decides")
    def decides(self, asked: HumanRequest) -> str:
        return ", ".join(str(one) for one in asked.assignees) or "any reviewer"

    @admin.display(description="asked")
    def age(self, asked: Any) -> SafeString:
        return time_since(asked.opened_at, asked.now)

    @admin.display(description="time left")
    def ends(self, asked: Any) -> SafeString | None:
        """Show the time that is left, or when the request was closed."""
        if asked.status != Status.PENDING:
            return format_html('<span class="quiet">closed {}</span>', moment_of(asked.closed_at))
        return time_left(asked.deadline, asked.now, asked.opened_at) if asked.deadline else None


def is_about_the_form(result: Outcome | ApprovalError) -> TypeGuard[ApprovalError]:
    """Tell whether the writer refused what was typed, so that the person can correct it."""
    return isinstance(result, ApprovalError) and result.code == "invalid"
