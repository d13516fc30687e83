"""The addresses of live connections. Origin and session are the concern of whoever composes them."""

from __future__ import annotations

from django.urls import path

from approvals.web.consumers import InboxConsumer

websocket_urlpatterns = [path("ws/inbox/", InboxConsumer.as_asgi())]
