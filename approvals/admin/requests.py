"""Requests: lists with filters, a page with the whole history, and what may be done to one from its page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals import deciding, queries
from approvals.admin.change_lists import ListAdmin
from approvals.admin.filters import AssignedToMe, Dates, Due, InStatus, Origin, People
from approvals.admin.read_only import moment_of, user_id_of
from approvals.admin.selection import PageAction, Result, Selection, page_of
from approvals.admin.timeline import timeline
from approvals.domain.commands import Channel
from approvals.domain.lifecycle import Kind, Outcome, Status
from approvals.domain.questions import REVIEWERS
from approvals.exceptions import ApprovalError, Busy, Unavailable
from approvals.models import Callback, HumanRequest
from approvals.queries import permissions
from approvals.templatetags.sayso import icon, time_left, time_since
from approvals.trail import verification
from approvals.web.edge.actors import actor_of_http
from approvals.web.edge.marks import visible
from approvals.web.pages.differences import Change, changes
from approvals.web.pages.forms import PlainForm, ReasonForm, ReassignForm
from approvals.web.pages.wording import outcome_in_words

if TYPE_CHECKING:
    Requests = QuerySet[HumanRequest]

logger = logging.getLogger(__name__)

View = Callable[[HttpRequest, UUID], HttpResponse]


class RequestAdmin(ListAdmin):
    """What both kinds of request have in common."""

    kind: Kind
    moment = "opened_at"
    page_template = "admin/approvals/request.html"
    list_display = ("what", "state", "ends", "decides", "requester", "age")
    list_filter = (InStatus, AssignedToMe, Due, Origin, People, Dates)
    search_fields = ("title", "key")
    search_help_text = "Words of the title, the key, or the id of the request or of its run"

    def get_queryset(self, request: HttpRequest) -> Requests:
        return self.listed(queries.visible_to(user_id_of(request)).filter(kind=self.kind))

    def listed(self, requests: Requests) -> Requests:
        """With what the columns show; `now` is the database's clock."""
        return queries.with_people(requests).annotate(now=Now())

    def get_search_results(
        self, request: HttpRequest, queryset: Requests, search_term: str
    ) -> tuple[Requests, bool]:
        """Each word is in the title or in the key; an id is a request's, or what asked it has it."""
        sought = search_term.replace("\0", "").strip()
        try:
            return queryset.filter(Q(pk=UUID(sought)) | Q(origin_id=str(UUID(sought)))), False
        except ValueError:
            pass
        for word in sought.split():
            queryset = queryset.filter(Q(title__icontains=word) | Q(key__icontains=word))
        return queryset, False

    def get_urls(self) -> list[URLPattern]:
        own = {"withdraw": self.withdraw_view, "reassign": self.reassign_view}
        return [*(self.address_of(name, view) for name, view in own.items()), *super().get_urls()]

    def address_of(self, name: str, view: View) -> URLPattern:
        """An address of a deed's own, below the request's."""
        named = f"approvals_{self.opts.model_name}_{name}"
        return path(f"<uuid:request_id>/{name}/", self.admin_site.admin_view(view), name=named)

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """For whoever holds the permission, or is named to decide something now.

        Django asks for each action, and again: one answer serves all of a page.
        """
        answers: dict[Kind, bool] = vars(request).setdefault("may_decide", {})
        if self.kind not in answers:
            answers[self.kind] = self._decides_something(user_id_of(request))
        return answers[self.kind]

    def _decides_something(self, user_id: int) -> bool:
        person = permissions.persons([user_id])[user_id]
        return person.holds(permissions.DECIDE) or bool(
            queries.list_inbox(user_id, kind=self.kind, mine=True, limit=1)
        )

    # One request's page

    def page(self, request: HttpRequest, row: HumanRequest) -> dict[str, Any]:
        self._record_view(request, row)
        asked = self.seen(request, row.pk)
        trail = queries.history(asked)
        standing = queries.standing(asked) if asked.status == Status.PENDING else None
        voted = any(one.event == "decided" and one.actor == request.user.get_username() for one in trail)
        voted = voted and standing is not None and standing.missing > 0
        return {
            "title": str(asked),
            "asked": asked,
            "these": [asked],
            "edits": _edits(asked),
            "trail": timeline(asked, trail),
            "faults": verification.verify_request(asked.pk),
            "callback": Callback.objects.filter(request=asked).first(),
            "deeds": self._page_actions(request, asked, voted=voted),
        }

    def deciding_deeds(self, asked: HumanRequest) -> list[PageAction]:
        """What those who may decide this request can do from its page."""
        raise NotImplementedError

    def _page_actions(self, request: HttpRequest, asked: HumanRequest, *, voted: bool) -> list[PageAction]:
        if asked.status != Status.PENDING:
            return []
        rights = queries.rights_of(user_id_of(request), asked)
        deeds = self.deciding_deeds(asked) if rights.decide and not voted else []
        if rights.reassign:
            deeds.append(PageAction(label="Reassign…", address=self._url("reassign", asked.pk)))
        if rights.withdraw:
            deeds.append(PageAction(label="Withdraw…", address=self._url("withdraw", asked.pk)))
        return deeds

    def _record_view(self, request: HttpRequest, asked: HumanRequest) -> None:
        """On record before it is shown. A page that can't be recorded is shown all the same, and logged."""
        try:
            deciding.record_view(actor_of_http(request, Channel.ADMIN), asked.pk)
        except (Busy, Unavailable) as error:
            logger.warning("view not recorded request_id=%s code=%s", asked.pk, error.code)

    # Taking back, handing on

    def withdraw_view(self, request: HttpRequest, request_id: UUID) -> HttpResponse:
        """GET asks for confirmation and a reason; POST withdraws."""
        asked = self.seen(request, request_id)
        form = ReasonForm(request.POST or None)
        if request.method != "POST" or not form.is_valid():
            may = queries.rights_of(user_id_of(request), asked).withdraw
            return self._confirm_one(request, asked, form, "Withdraw", may=may, danger=True)
        actor, reason = actor_of_http(request, Channel.ADMIN), form.cleaned_data["reason"]
        return self._perform(request, asked, form, lambda: deciding.withdraw(actor, request_id, reason))

    def reassign_view(self, request: HttpRequest, request_id: UUID) -> HttpResponse:
        """GET asks who is to decide instead; POST hands the request on."""
        asked = self.seen(request, request_id)
        form = ReassignForm(asked, request.POST or None)
        may = queries.rights_of(user_id_of(request), asked).reassign
        if request.method != "POST" or not form.is_valid():
            return self._confirm_one(request, asked, form, "Reassign", may=may)
        actor = actor_of_http(request, Channel.ADMIN)
        users, groups = form.cleaned_data["users"], form.cleaned_data["groups"]
        users = users if users or groups else REVIEWERS  # as the form says
        return self._perform(
            request, asked, form, lambda: deciding.reassign(actor, request_id, users, groups), handed_on=True
        )

    def _confirm_one(
        self,
        request: HttpRequest,
        asked: HumanRequest,
        form: PlainForm,
        act: str,
        *,
        may: bool = True,
        danger: bool = False,
    ) -> HttpResponse:
        context = {"title": f"{act}?", "act": act, "asked": asked, "form": form, "may": may, "danger": danger}
        return self.shown(request, "admin/approvals/confirm.html", context)

    def _perform(
        self,
        request: HttpRequest,
        asked: HumanRequest,
        form: PlainForm,
        deed: Callable[[], Outcome],
        *,
        handed_on: bool = False,
    ) -> HttpResponse:
        """Do it and lead back to the request, or, where it is seen no more, to the list."""
        try:
            outcome = deed()
        except ApprovalError as error:
            if is_about_the_form(error):
                form.refused(error)
                return self._confirm_one(request, asked, form, "Reassign" if handed_on else "Withdraw")
            return self.told(request, [Result.of(asked.pk, asked, error)])
        if handed_on:
            messages.success(request, format_html("{}: handed on", visible(asked.title)))
            return HttpResponseRedirect(self._page_or_list(request, asked))
        return self.told(request, [Result.of(asked.pk, asked, outcome)])

    # What views of both kinds need

    def seen(self, request: HttpRequest, request_id: UUID) -> HumanRequest:
        """The request, of this kind, or 404."""
        found = self.get_queryset(request).filter(pk=request_id).first()
        if found is None:
            raise Http404(f"There is no {self.opts.verbose_name} {request_id}, or you may not see it.")
        return found

    def chosen(self, request: HttpRequest, names: Sequence[str]) -> Selection:
        if not self.has_decide_permission(request):
            raise PermissionDenied
        return Selection.named(user_id_of(request), self.kind, names)

    def single(self, request: HttpRequest, request_id: UUID) -> Selection:
        asked = self.seen(request, request_id)
        return Selection.named(user_id_of(request), self.kind, [str(asked.pk)])

    def told(self, request: HttpRequest, results: Sequence[Result]) -> HttpResponse:
        """Say what came of each: of one on its page, of many in a table."""
        if len(results) == 1:
            (told,) = results
            level = messages.ERROR if told.code else messages.SUCCESS
            messages.add_message(request, level, visible(str(told)))
            return HttpResponseRedirect(told.address or self._url("changelist"))
        refused = sum(bool(told.code) for told in results)
        context = {
            "title": "What came of it",
            "results": results,
            "done": len(results) - refused,
            "refused": refused,
        }
        return self.shown(request, "admin/approvals/outcomes.html", context)

    def _page_or_list(self, request: HttpRequest, asked: HumanRequest) -> str:
        seen = self.get_queryset(request).filter(pk=asked.pk).exists()
        return page_of(asked) if seen else self._url("changelist")

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
        return ", ".join(str(one) for one in asked.assignees) or "whoever may"

    @admin.display(description="asked")
    def age(self, asked: Any) -> SafeString:
        return time_since(asked.opened_at, asked.now)

    @admin.display(description="time left")
    def ends(self, asked: Any) -> SafeString | None:
        """The time that is left, or when it was closed."""
        if asked.status != Status.PENDING:
            return format_html('<span class="quiet">closed {}</span>', moment_of(asked.closed_at))
        return time_left(asked.deadline, asked.now) if asked.deadline else None


def is_about_the_form(result: Outcome | ApprovalError) -> TypeGuard[ApprovalError]:
    """The writer found what was typed at fault: the person can put it right."""
    return isinstance(result, ApprovalError) and result.code == "invalid"


def _edits(asked: HumanRequest) -> list[Change]:
    edited = asked.final_arguments
    return [] if edited is None else changes(asked.arguments, edited)
