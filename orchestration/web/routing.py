"""The URLs of the runs' WebSockets; see approvals.web.routing."""

from __future__ import annotations

from django.urls import path

from orchestration.web.consumers import RunConsumer

websocket_urlpatterns = [path("ws/runs/<uuid:run_id>/", RunConsumer.as_asgi())]
