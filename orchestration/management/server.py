"""Serve HTTP, WebSocket and the runtime in this process, by daphne."""

from __future__ import annotations

import errno
import logging
import socket
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from channels.routing import get_default_application
from daphne.endpoints import build_endpoint_description_strings
from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

from approvals.management.screen import Misuse, Refused
from approvals.web.edge import serving

LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def add_address_options(parser: ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on; default: %(default)s")
    parser.add_argument("--port", type=int, default=8000, help="0: any free port; default: %(default)s")


def require_free(host: str, port: int) -> None:
    """Raise Refused if another program listens there, Misuse if the port is impossible."""
    if not 0 <= port <= 65_535:
        raise Misuse(f"--port {port} is not a port: give 0 to 65535.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise _cannot_listen(host, port, error) from error


def serve(host: str, port: int, announce: Callable[[str], None], *, quiet: bool = False) -> None:
    """Listen, announce the server's address, serve until SIGINT or SIGTERM. `quiet` logs warnings only."""
    application = _with_static_files(get_default_application())
    if quiet:  # only now: loading the application sets logging up anew
        logging.getLogger().setLevel(logging.WARNING)
    server = _Server(
        application=application,
        endpoints=build_endpoint_description_strings(host=host, port=port),
        server_name="",
    )
    server.ready_callable = lambda: announce(_url(host, server.listening_addresses[0][1]))
    server.run()
    if server.failure is not None:
        raise _cannot_listen(host, port, server.failure)


def names_are_missing(host: str) -> bool:
    """Tell whether other computers can reach this server, but ALLOWED_HOSTS names only this one."""
    return host not in LOOPBACK and set(settings.ALLOWED_HOSTS) <= {"localhost", "127.0.0.1", "[::1]"}


def _with_static_files(application: Any) -> Any:
    """Serve static files in debug mode, as `runserver` does, unless the project does it otherwise."""
    served_otherwise = apps.is_installed("whitenoise.runserver_nostatic")
    if settings.DEBUG and apps.is_installed("django.contrib.staticfiles") and not served_otherwise:
        return ASGIStaticFilesHandler(application)
    return application


class _Server(serving.Server):
    """Keeps the reason why it could not listen, instead of logging it and ending without an error."""

    failure: BaseException | None = None

    def listen_error(self, failure: Any) -> None:
        self.failure = failure.value
        self.stop()


def _cannot_listen(host: str, port: int, error: BaseException) -> Refused:
    reason = getattr(error, "socketError", error)
    if getattr(reason, "errno", None) == errno.EADDRINUSE:
        return Refused(f"{host}:{port} is in use by another program. Choose another --port.")
    return Refused(f"Cannot listen on {host}:{port}: {getattr(reason, 'strerror', None) or reason}.")


def _url(host: str, port: int) -> str:
    name = "localhost" if host in {"0.0.0.0", "::", ""} else host  # noqa: S104 - shown, not listened on
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"
