"""The URLs of a project that does not include Sayso's yet."""

from __future__ import annotations

from django.urls import path

from tests.approvals.web.below_a_path import login

urlpatterns = [path("login/", login)]
