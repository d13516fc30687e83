"""The URLs of the runs' WebSockets; see approvals.web.routing."""

from __future__ import annotations

from django.urls import path

from orchestration.web.consumers import RunConsumer, RunListConsumer

websocket_urlpatterns = [
    path("ws/runs/", RunListConsumer.as_asgi()),
    path("ws/runs/<uuid:run_id>/", RunConsumer.as_asgi()),
]
