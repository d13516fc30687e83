"""Pages of accounts: passwords, log-in and log-out. Anybody may log in here, only staff in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import forms, views
from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse

from approvals import links
from approvals.web.edge.logins import limit_attempts
from approvals.writer import emails

log_in = limit_attempts(
    views.LoginView.as_view(
        template_name="approvals/login.html", next_page="inbox", redirect_authenticated_user=True
    )
)
log_out = views.LogoutView.as_view(next_page="sayso-login")


class ResetForm(forms.PasswordResetForm):
    """Queues an email to each account with this address; a background process writes and sends it."""

    def save(self, **options: Any) -> None:  # type: ignore[override]  # needs no options
        emails.enqueue(self.get_users(self.cleaned_data["email"]), emails.PASSWORD_RESET)


class PasswordReset(views.PasswordResetView):
    """Takes an email address. The answer is the same whether an account has it or not."""

    form_class = ResetForm
    template_name = "account/password_reset.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not links.are_set_up():
            return TemplateResponse(request, "account/password_reset_off.html")
        return super().dispatch(request, *args, **kwargs)
