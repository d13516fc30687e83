"""The addresses of live connections. Whoever composes them validates `Origin` and adds the session.

Not the user: a connection outlives its login, so consumers ask for the user when they need one, on database
threads. channels.auth would look it up once, on the one thread that all connections share.
"""

from __future__ import annotations

from django.urls import path

from approvals.web.consumers import InboxConsumer

websocket_urlpatterns = [path("ws/inbox/", InboxConsumer.as_asgi())]
