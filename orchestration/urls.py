"""The URLs of both apps: inbox, runs, HTTP API, health and metrics. A project includes them, at any path."""

from django.urls import include, path

from approvals.web.edge.own_pages import own
from orchestration.observing import health
from orchestration.observing.metrics import metrics

urlpatterns = [
    path("", include("approvals.urls")),
    path("", include("orchestration.web.urls")),
    *own([path("healthz/live", health.live), path("healthz/ready", health.ready), path("metrics", metrics)]),
]
