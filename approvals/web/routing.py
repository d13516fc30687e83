"""The URLs of WebSockets: those of pages, and those of programs.

The ASGI application that includes those of pages must check `Origin` and add the session. Those of programs
need neither: they ignore cookies, and a page can't make a browser send their `Authorization` header.

The user is not added either: a connection can outlive its login, so consumers look the user up, on database
threads, each time they need one.
"""

from __future__ import annotations

from django.urls import path

from approvals.web.live.consumers import InboxConsumer, ProgramInboxConsumer

websocket_urlpatterns = [path("ws/inbox/", InboxConsumer.as_asgi())]
program_urlpatterns = [path("ws/api/inbox/", ProgramInboxConsumer.as_asgi())]
