"""The URLs of this installation."""

from django.contrib import admin
from django.contrib.auth import views as auth
from django.urls import include, path

from approvals.web.edge.logins import limit_account_attempts, limit_attempts
from approvals.web.pages.accounts import PasswordReset, log_in
from orchestration.web.errors import bad_request, server_error

handler400 = bad_request
handler500 = server_error

admin.autodiscover()

urlpatterns = [
    path("", include("orchestration.urls")),
    path("admin/login/", limit_attempts(admin.site.login)),
    path("admin/password_change/", limit_account_attempts(admin.site.admin_view(admin.site.password_change))),
    path("admin/", admin.site.urls),
    path("accounts/login/", log_in, name="login"),
    path("accounts/logout/", auth.LogoutView.as_view(), name="logout"),
    # The admin has templates of the same names; these are the pages' own.
    path(
        "accounts/password/",
        limit_account_attempts(auth.PasswordChangeView.as_view(template_name="account/password_change.html")),
        name="password_change",
    ),
    path(
        "accounts/password/changed/",
        auth.PasswordChangeDoneView.as_view(template_name="account/password_changed.html"),
        name="password_change_done",
    ),
    path("accounts/reset/", limit_attempts(PasswordReset.as_view(), field="email"), name="password_reset"),
    path(
        "accounts/reset/sent/",
        auth.PasswordResetDoneView.as_view(template_name="account/password_reset_sent.html"),
        name="password_reset_done",
    ),
    path(
        "accounts/reset/<uidb64>/<token>/",
        auth.PasswordResetConfirmView.as_view(template_name="account/password_set.html"),
        name="password_reset_confirm",
    ),
    path(
        "accounts/reset/done/",
        auth.PasswordResetCompleteView.as_view(template_name="account/password_changed.html"),
        name="password_reset_complete",
    ),
]
