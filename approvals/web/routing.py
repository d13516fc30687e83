"""The addresses of live connections: of pages, and of programs.

Whoever composes those of pages validates `Origin` and adds the session. Those of programs need neither: they
look at no cookie, and a page can't make its browser send the header that they look at.

Not the user: a connection outlives its login, so consumers ask for the user when they need one, on database
threads. channels.auth would look it up once, on the one thread that all connections share.
"""

from __future__ import annotations

from django.urls import path

from approvals.web.live.consumers import InboxConsumer, ProgramInboxConsumer

websocket_urlpatterns = [path("ws/inbox/", InboxConsumer.as_asgi())]
program_urlpatterns = [path("ws/api/inbox/", ProgramInboxConsumer.as_asgi())]
