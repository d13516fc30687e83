"""The URLs of a project that has a name of ours for a page of its own."""

from __future__ import annotations

from django.urls import include, path

from tests.approvals.web.below_a_path import login

urlpatterns = [
    path("login/", login, name="inbox"),
    path("own/", include(([path("runs/", login, name="runs")], "own"))),
    path("sayso/", include("orchestration.urls")),
]
