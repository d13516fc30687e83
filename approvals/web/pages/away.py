"""The page of who decides for whom: while one is away oneself, and for others."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from approvals import delegations
from approvals.database.clock import database_now
from approvals.exceptions import InvalidRequest, NotPermitted, UnknownDelegation
from approvals.queries.delegations import delegations_of, delegations_to
from approvals.web.pages.access import page, post_only, unsent_notice, user_id
from approvals.web.pages.forms import DelegationForm


@page(UnknownDelegation)
@require_http_methods(["GET", "HEAD", "POST"])
def away(request: HttpRequest) -> HttpResponse:
    """List who stands for this person, and for whom they do; or make a delegation and list them again."""
    person: Any = request.user
    for_others = person.has_perm(delegations.MANAGE)
    if request.method != "POST":
        return _show(request, DelegationForm(for_others=for_others))
    form = DelegationForm(request.POST, for_others=for_others)
    if form.is_valid():
        said = {**form.cleaned_data, "principal": form.cleaned_data.get("principal") or person}
        try:
            delegations.delegate(**said, by=person)
        except (InvalidRequest, NotPermitted) as error:
            form.add_refusal(error)
        else:
            return HttpResponseRedirect(f"{reverse('away')}?saved", status=HTTPStatus.SEE_OTHER)
    return _show(request, form, status=HTTPStatus.UNPROCESSABLE_ENTITY)


@page(UnknownDelegation)
@post_only(back_to="away")
def end_delegation(request: HttpRequest, delegation_id: UUID) -> HttpResponse:
    delegations.end(delegation_id, by=request.user)
    return HttpResponseRedirect(reverse("away"), status=HTTPStatus.SEE_OTHER)


def _show(request: HttpRequest, form: DelegationForm, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    person = user_id(request)
    return render(
        request,
        "approvals/away.html",
        {
            "form": form,
            "mine": delegations_of(person),
            "to_me": delegations_to(person),
            "now": database_now(),
            "saved": "saved" in request.GET,
            "unsent": unsent_notice(request),
        },
        status=status,
    )
