"""Django's admin for runs, to read and resume them, and for overrides of who decides for an orchestration.

A run is cancelled on its page, and its requests are decided in theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals.admin.change_lists import ListAdmin, moment_column
from approvals.admin.filters import ColumnFilter, TypedField, column_filter, days, equals, typed_filter
from approvals.database.clock import database_now
from approvals.domain.commands import Channel
from approvals.queries import requests_by_id, visible_ids
from approvals.queries.account_names import name_field
from approvals.web.edge.actors import actor_of_http
from approvals.web.edge.hidden_characters import visible
from approvals.web.pages.access import user_id
from orchestration import queries
from orchestration.catalog import orchestrations, registered_kinds
from orchestration.exceptions import AlreadyFinished, NotPermitted
from orchestration.manager import OrchestrationManager
from orchestration.models import OPEN, DecidersOverride, Run, RunStatus, StepStatus
from orchestration.policies.deciders import find_people
from orchestration.runs.manual_resumption import UNSEEN, describe_resumption, is_resumable
from orchestration.web.plan import shown_steps
from orchestration.web.wording import error_of

if TYPE_CHECKING:
    Runs = QuerySet[Run]
    OverrideModelForm = forms.ModelForm[DecidersOverride]
    OverrideModelAdmin = admin.ModelAdmin[DecidersOverride]
else:
    OverrideModelForm = forms.ModelForm
    OverrideModelAdmin = admin.ModelAdmin

LATEST_MESSAGES = 200


class OfOrchestration(ColumnFilter):
    """Offers the registered orchestrations; a link may name one that is registered no longer."""

    title = parameter_name = column = "orchestration"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted({*orchestrations(), self.value() or ""} - {""})]


@admin.register(Run)
class RunAdmin(ListAdmin):
    """All runs for staff with the permission `orchestration.view_run`; for other staff their own."""

    page_template = "admin/orchestration/run.html"
    moment = "created_at"
    list_display = ("what", "state", "orchestration", "owner", "began", "ended")
    list_filter = (
        column_filter("status", [(value, str(label)) for value, label in RunStatus.choices], title="state"),
        OfOrchestration,
        typed_filter("people", TypedField(name="owner", label="Owner", where=equals(name_field("owner")))),
        typed_filter("dates", *days("created", "Queued from"), *days("finished", "Ended from")),
    )
    list_select_related = ("owner",)
    search_fields = ("title", "key")
    search_help_text = "Words of the title, the key, or the run's id"
    id_fields = ("pk",)
    views: ClassVar = {"<uuid:run_id>/resume/": "resume_view"}
    began = moment_column("created_at", "queued")
    ended = moment_column("finished_at", "ended")

    def get_queryset(self, request: HttpRequest) -> Runs:
        runs = Run.objects.all()
        return runs if request.user.has_perm(queries.SEE_ALL) else runs.filter(owner_id=request.user.pk)

    def page(self, request: HttpRequest, row: Run) -> dict[str, Any]:
        run, messages = queries.run_by_id(row.pk), queries.messages_of(row)
        steps = queries.steps_of(row)
        asked = requests_by_id([step.request_id for step in steps if step.request_id])
        seen = visible_ids([user_id(request)], asked)[user_id(request)]
        unseen = {one.pk for one in asked} - seen
        for step in steps:
            if step.request_id in unseen:
                step.name, step.request_id, step.result, step.error = UNSEEN, None, None, ""
            if step.status == StepStatus.OPEN:  # there is none yet
                step.result = None
        return {
            "title": str(row),
            "run": run,
            "may_resume": is_resumable(run) and queries.may_change(user_id(request), run),
            "unknown": run.status in OPEN and (run.orchestration, run.version) not in registered_kinds(),
            "reason": run.reason.replace("_", " "),
            "plan": shown_steps(run.plan),
            "steps": steps,
            "asked": sorted((one for one in asked if one.pk in seen), key=lambda one: one.opened_at),
            "unseen": len(unseen),
            "error": error_of(run, sees_requests=not unseen),
            "messages_of_run": messages[-LATEST_MESSAGES:],
            "earlier": max(0, len(messages) - LATEST_MESSAGES),
        }

    def resume_view(self, request: HttpRequest, run_id: UUID) -> HttpResponse:
        """GET says what the run repeats when it is resumed; POST resumes it."""
        run = self.get_queryset(request).filter(pk=run_id).first()
        if run is None:
            raise Http404(f"There is no run {run_id}, or you may not see it.")
        manager, actor = OrchestrationManager(), actor_of_http(request, Channel.ADMIN)
        back = HttpResponseRedirect(reverse("admin:orchestration_run_change", args=[run_id]))
        try:
            if request.method == "POST":
                manager.resume(actor, run_id)
                messages.success(request, format_html("{}: resumed", visible(run.title)))
                return back
            resumption = describe_resumption(manager.resumption(actor, run_id))
        except NotPermitted as error:
            raise PermissionDenied(error.detail) from None
        except AlreadyFinished as error:
            messages.error(request, error.detail)
            return back
        context = {"title": "Resume?", "original": run, "run": run, "resumption": resumption}
        return self.render_page(request, "admin/orchestration/resume.html", context)

    @admin.display(description="run")
    def what(self, run: Run) -> SafeString:
        return visible(run.title or run.orchestration)

    @admin.display(description="state")
    def state(self, run: Run) -> SafeString:
        return format_html('<span class="state is-{}">{}</span>', run.status, run.get_status_display())


class FourEyes(forms.NullBooleanSelect):
    """Yes, no, or as the orchestration says."""

    def __init__(self) -> None:
        super().__init__()
        self.choices = [("unknown", "As the orchestration says"), ("true", "Yes"), ("false", "No")]


class NamesOnLines(forms.CharField):
    """Names of users and groups, one on each line."""

    widget = forms.Textarea(attrs={"rows": 4})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        names = [line.strip() for line in super().clean(value).splitlines() if line.strip()]
        if unknown := find_people(names)[2]:
            raise ValidationError([f"{one}." for one in unknown])
        return list(dict.fromkeys(names))


class OverrideForm(OverrideModelForm):
    """Who decides what an orchestration asks from now on."""

    deciders = NamesOnLines(
        required=False,
        help_text="Names of groups and users, one on each line. Empty: as the orchestration says.",
    )

    class Meta:
        model = DecidersOverride
        fields = ("orchestration", "deciders", "reviewers", "four_eyes")
        help_texts: ClassVar = {
            "reviewers": "Everybody who has the permission to decide requests that name nobody.",
            "four_eyes": "Yes: the person who started the run can't decide its requests.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "four_eyes" in self.fields:  # else it is only read
            self.fields["four_eyes"].widget = FourEyes()
        if "orchestration" in self.fields:
            taken = self.instance.orchestration
            names = sorted({*orchestrations(), *([taken] if taken else [])})
            self.fields["orchestration"] = forms.ChoiceField(choices=[(name, name) for name in names])

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        if given.get("reviewers") and given.get("deciders"):
            self.add_error("reviewers", "Choose any reviewer, or name deciders; not both.")
        if not (given.get("reviewers") or given.get("deciders") or given.get("four_eyes") is not None):
            self.add_error(None, "Say who decides, or whether the requester may; or delete the override.")
        return given


@admin.register(DecidersOverride)
class DecidersOverrideAdmin(OverrideModelAdmin):
    """Overrides apply to requests that are opened from then on; open ones stay as they are."""

    form = OverrideForm
    list_display = ("orchestration", "who", "four_eyes", "changed_by", "changed_at")
    list_select_related = ("changed_by",)
    readonly_fields = ("changed_by", "changed_at")
    ordering = ("orchestration",)

    @admin.display(description="deciders")
    def who(self, override: DecidersOverride) -> str:
        return (
            "any reviewer"
            if override.reviewers
            else ", ".join(override.deciders) or "as the orchestration says"
        )

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.changed_by_id, obj.changed_at = user_id(request), database_now()
        super().save_model(request, obj, form, change)
