"""The URLs of approvals: the inbox, its requests, and the HTTP API. A project includes them, at any path."""

from django.urls import include, path

from approvals.web.api.service import api
from approvals.web.edge.mount import API

urlpatterns = [path("", include("approvals.web.urls")), path(API, api.urls)]
