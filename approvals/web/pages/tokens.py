"""The page of one's own API tokens: make one, which is shown once, and revoke them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from approvals.database.clock import database_now
from approvals.exceptions import InvalidRequest, UnknownRequest
from approvals.web.edge import tokens
from approvals.web.edge.token_makers import issue_by
from approvals.web.pages.access import page, post_only, unsent_notice, user_id
from approvals.web.pages.forms import TokenForm

LISTED = 200


@page(UnknownRequest)
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables("secret")
def own_tokens(request: HttpRequest) -> HttpResponse:
    """List the tokens and offer the form; after a POST show the new token, in this response alone."""
    if request.method != "POST":
        return _show(request, TokenForm())
    form = TokenForm(request.POST)
    if form.is_valid():
        said = form.cleaned_data
        person: Any = request.user
        try:
            token, secret = issue_by(person, person, said["name"], said["scopes"], lifetime=said["lifetime"])
        except InvalidRequest as error:
            form.add_refusal(error)
        else:
            return _show(request, TokenForm(), made=token, secret=secret)
    return _show(request, form, status=HTTPStatus.UNPROCESSABLE_ENTITY)


@page(UnknownRequest)
@post_only(back_to="tokens")
def revoke_own_token(request: HttpRequest, token_id: UUID) -> HttpResponse:
    if not tokens.of_user(user_id(request)).filter(pk=token_id).exists():
        raise Http404("There is no such token of yours.")
    tokens.revoke(token_id, user_id(request))
    return HttpResponseRedirect(reverse("tokens"), status=HTTPStatus.SEE_OTHER)


def _show(
    request: HttpRequest, form: TokenForm, *, status: HTTPStatus = HTTPStatus.OK, **made: Any
) -> HttpResponse:
    held = list(tokens.of_user(user_id(request))[: LISTED + 1])
    context = {"form": form, "tokens": held[:LISTED], "more": len(held) > LISTED, "now": database_now()}
    context["unsent"] = unsent_notice(request)
    return render(request, "approvals/tokens.html", context | made, status=status)
