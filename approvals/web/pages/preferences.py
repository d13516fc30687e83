"""The page of one's own preferences: those of the account, where one is told, and room for the browser's."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from approvals import queries
from approvals.conf import approval_settings, tells_people
from approvals.delivery import addresses
from approvals.domain.telling import EVENTS, DestinationKind
from approvals.exceptions import InvalidRequest, UnknownRequest
from approvals.web.edge.preferences import (
    REMOVABLE,
    add_webhook,
    ask_for_code,
    change_events,
    remove_destination,
    save,
)
from approvals.web.pages.access import page, post_only, unsent_notice, user_id
from approvals.web.pages.forms import AddressForm, CodeForm, EventsForm, PreferenceForm, WebhookForm
from approvals.writer import new_addresses


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
@post_only(back_to="preferences")
@sensitive_post_parameters("address")
def add_own_webhook(request: HttpRequest) -> HttpResponse:
    """Have oneself told by a webhook, too; its address is not shown again."""
    if not _may_add():
        return _back()
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
@post_only(back_to="preferences")
@sensitive_post_parameters("address")
def add_own_address(request: HttpRequest) -> HttpResponse:
    """Have a code sent to another mail address, which is told nothing before it was entered."""
    if not tells_people():
        return _back()
    form = AddressForm(request.POST, auto_id="address_%s")
    if form.is_valid():
        try:
            ask_for_code(user_id(request), **form.cleaned_data)
        except InvalidRequest as error:
            form.add_refusal(error)
        else:
            return _back("#new-address")
    return _show(request, address_form=form, status=HTTPStatus.UNPROCESSABLE_ENTITY)


@page(UnknownRequest)
@post_only(back_to="preferences")
@sensitive_post_parameters("code")
def enter_code(request: HttpRequest) -> HttpResponse:
    """Have oneself told at the address to which this code was sent."""
    form = CodeForm(request.POST)
    if form.is_valid():
        try:
            confirmed = new_addresses.confirm(user_id(request), form.cleaned_data["code"])
        except InvalidRequest as error:
            form.add_refusal(error)
        else:
            return _saved() if confirmed else _back()
    return _show(request, code_form=form, status=HTTPStatus.UNPROCESSABLE_ENTITY)


@page(UnknownRequest)
@post_only(back_to="preferences")
def send_another_code(request: HttpRequest) -> HttpResponse:
    form = CodeForm({})
    form.full_clean()
    form.errors.clear()
    try:
        new_addresses.send_another(user_id(request))
    except InvalidRequest as error:
        form.add_refusal(error)
        return _show(request, code_form=form, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    return _back("#new-address")


@page(UnknownRequest)
@post_only(back_to="preferences")
def drop_new_address(request: HttpRequest) -> HttpResponse:
    new_addresses.drop(user_id(request))
    return _back()


@page(UnknownRequest)
@post_only(back_to="preferences")
def change_own_destination(request: HttpRequest, destination_id: int) -> HttpResponse:
    """Choose of which events one of one's own places is told; none, and it is told nothing."""
    form = _events_form(destination_id, request.POST)
    if form.is_valid():
        change_events(user_id(request), destination_id, form.cleaned_data["events"])
        return _saved()
    return _show(request, events_form=(destination_id, form), status=HTTPStatus.UNPROCESSABLE_ENTITY)


@page(UnknownRequest)
@post_only(back_to="preferences")
def remove_own_destination(request: HttpRequest, destination_id: int) -> HttpResponse:
    remove_destination(user_id(request), destination_id)
    return _saved()


def _show(
    request: HttpRequest,
    *,
    form: PreferenceForm | None = None,
    webhook_form: WebhookForm | None = None,
    address_form: AddressForm | None = None,
    code_form: CodeForm | None = None,
    events_form: tuple[int, EventsForm] | None = None,
    status: HTTPStatus = HTTPStatus.OK,
) -> HttpResponse:
    person = user_id(request)
    told = {**vars(queries.preference_of(person)), "told": queries.told_by_mail(person)}
    new = queries.new_address_of(person)
    return render(
        request,
        "approvals/preferences.html",
        {
            "form": form or PreferenceForm(initial=told),
            "saved": "saved" in request.GET,
            "unsent": unsent_notice(request),
            "destinations": [_shown(one, person, events_form) for one in queries.destinations_of(person)],
            "tells": tells_people(),
            "webhook_form": (webhook_form or WebhookForm(auto_id="webhook_%s")) if _may_add() else None,
            "new_address": addresses.abbreviate(DestinationKind.EMAIL, new.address) if new else "",
            "code_form": None if new is None or address_form else code_form or CodeForm(),
            "address_form": address_form or AddressForm(auto_id="address_%s"),
        },
        status=status,
    )


def _shown(destination: Any, person: int, sent: tuple[int, EventsForm] | None) -> dict[str, Any]:
    own = destination.user_id == person
    is_sent = sent is not None and sent[0] == destination.pk
    return {
        "pk": destination.pk,
        "kind": destination.get_kind_display(),
        "label": destination.label,
        "group": "" if own else destination.group.name,
        "address": addresses.abbreviate(destination.kind, destination.address) if own else "",
        "told": [words for event, words in EVENTS.items() if event in destination.events],
        "failing_since": destination.failing_since,
        "removable": own and destination.kind in REMOVABLE,
        "form": (sent[1] if sent and is_sent else _events_form(destination.pk, None, destination.events))
        if own
        else None,
        "open": is_sent,
    }


def _events_form(destination_id: int, sent: Any, events: Sequence[str] = ()) -> EventsForm:
    return EventsForm(sent, initial={"events": events}, auto_id=f"destination_{destination_id}_%s")


def _may_add() -> bool:
    """Whether this installation allows people webhooks of their own."""
    return tells_people() and bool(approval_settings().callback_hosts)


def _saved() -> HttpResponse:
    return _back("?saved")


def _back(where: str = "") -> HttpResponse:
    return HttpResponseRedirect(f"{reverse('preferences')}{where}", status=HTTPStatus.SEE_OTHER)
