"""The page of one's own preferences: those of the account, and room for those of the browser."""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from approvals import queries
from approvals.exceptions import UnknownRequest
from approvals.web.edge.preferences import save
from approvals.web.pages.access import page, user_id
from approvals.web.pages.forms import PreferenceForm


@page(UnknownRequest)
@require_http_methods(["GET", "HEAD", "POST"])
def preferences(request: HttpRequest) -> HttpResponse:
    """Show the settings, or save them and show them again."""
    if request.method == "POST":
        form = PreferenceForm(request.POST)
        if form.is_valid():
            save(user_id(request), form.cleaned_data)
            return HttpResponseRedirect(f"{reverse('preferences')}?saved", status=HTTPStatus.SEE_OTHER)
    else:
        person = user_id(request)
        form = PreferenceForm(
            initial={**vars(queries.preference_of(person)), "told": queries.told_by_mail(person)}
        )
    return render(request, "approvals/preferences.html", {"form": form, "saved": "saved" in request.GET})
