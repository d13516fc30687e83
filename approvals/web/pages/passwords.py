"""Pages on which people set their passwords. What may be guessed there is limited like log-in."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import forms, views
from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse

from approvals.delivery import links
from approvals.writer import letters


class ResetForm(forms.PasswordResetForm):
    """Asks for a letter to each account with this address; it is made, and sent, by the postman."""

    def save(self, **options: Any) -> None:  # type: ignore[override]  # what a letter needs it finds itself
        letters.enqueue(self.get_users(self.cleaned_data["email"]), letters.PASSWORD_RESET)


class PasswordReset(views.PasswordResetView):
    """Takes an address and says the same whoever it belongs to."""

    form_class = ResetForm
    template_name = "account/password_reset.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not links.are_set_up():
            return TemplateResponse(request, "account/password_reset_off.html")
        return super().dispatch(request, *args, **kwargs)
