"""The URLs of a project that includes Sayso's at a path of its own."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def login(request: HttpRequest) -> HttpResponse:
    return HttpResponse("the project's own log-in")


urlpatterns = [path("login/", login), path("tools/sayso/", include("orchestration.urls"))]
