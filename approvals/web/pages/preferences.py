"""The page of one's own preferences: those of the account, where one is told, and room for the browser's."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from approvals import queries
from approvals.conf import approval_settings, tells_people
from approvals.delivery import addresses
from approvals.domain.telling import DestinationKind
from approvals.exceptions import InvalidRequest, UnknownRequest
from approvals.web.edge.preferences import add_webhook, remove_webhook, save
from approvals.web.pages.access import page, user_id
from approvals.web.pages.forms import PreferenceForm, WebhookForm


@page(UnknownRequest)
@require_http_methods(["GET", "HEAD", "POST"])
def preferences(request: HttpRequest) -> HttpResponse:
    """Show the settings, or save them and show them again."""
    if request.method != "POST":
        return _show(request)
    form = PreferenceForm(request.POST)
    if not form.is_valid():
        return _show(request, form=form)
    save(user_id(request), form.cleaned_data)
    return _saved()


@page(UnknownRequest)
@require_POST
@sensitive_post_parameters("address")
def add_own_webhook(request: HttpRequest) -> HttpResponse:
    """Have oneself told by a webhook, too; its address is not shown again."""
    if not _may_add():
        return HttpResponseRedirect(reverse("preferences"), status=HTTPStatus.SEE_OTHER)
    form = WebhookForm(request.POST, auto_id="webhook_%s")
    if form.is_valid():
        try:
            add_webhook(user_id(request), **form.cleaned_data)
        except InvalidRequest as error:
            form.add_refusal(error)
        else:
            return _saved()
    return _show(request, webhook_form=form, status=HTTPStatus.UNPROCESSABLE_ENTITY)


@page(UnknownRequest)
@require_POST
def remove_own_webhook(request: HttpRequest, destination_id: int) -> HttpResponse:
    remove_webhook(user_id(request), destination_id)
    return _saved()


def _show(
    request: HttpRequest,
    *,
    form: PreferenceForm | None = None,
    webhook_form: WebhookForm | None = None,
    status: HTTPStatus = HTTPStatus.OK,
) -> HttpResponse:
    person = user_id(request)
    told = {**vars(queries.preference_of(person)), "told": queries.told_by_mail(person)}
    return render(
        request,
        "approvals/preferences.html",
        {
            "form": form or PreferenceForm(initial=told),
            "saved": "saved" in request.GET,
            "destinations": [_shown(one, person) for one in queries.destinations_of(person)],
            "tells": tells_people(),
            "webhook_form": (webhook_form or WebhookForm(auto_id="webhook_%s")) if _may_add() else None,
        },
        status=status,
    )


def _shown(destination: Any, person: int) -> dict[str, Any]:
    own = destination.user_id == person
    return {
        "pk": destination.pk,
        "kind": destination.get_kind_display(),
        "label": destination.label,
        "group": "" if own else destination.group.name,
        "address": addresses.abbreviate(destination.kind, destination.address) if own else "",
        "failing_since": destination.failing_since,
        "removable": own and destination.kind == DestinationKind.WEBHOOK,
    }


def _may_add() -> bool:
    """Whether this installation allows people webhooks of their own."""
    return tells_people() and bool(approval_settings().callback_hosts)


def _saved() -> HttpResponse:
    return HttpResponseRedirect(f"{reverse('preferences')}?saved", status=HTTPStatus.SEE_OTHER)
