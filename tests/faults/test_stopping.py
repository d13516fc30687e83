"""A server that is told to stop ends in time, whatever is under way in it."""

from __future__ import annotations

import socket

import httpx
import pytest

from tests.conftest import Serve
from tests.patience import patience
from tests.servers import PostgresServer

pytestmark = pytest.mark.django_db

# Requests that are inside Django at once, each in a thread of its own.
REQUESTS = 5


def test_a_server_stops_though_requests_hang_in_the_database(
    private_postgres: PostgresServer, serve: Serve
) -> None:
    """Their threads never return: neither from the database, nor to an event loop that has ended."""
    server = serve()
    private_postgres.freeze()
    connections = [_ask_for_a_list(server.port) for _ in range(REQUESTS)]
    # Answered after those have been taken in.
    assert httpx.get(f"{server.url}/healthz/live", timeout=patience(), trust_env=False).status_code == 200
    assert server.terminate(timeout=30) == 0
    assert "Stopped." in server.output.text
    for connection in connections:
        connection.close()


def _ask_for_a_list(port: int) -> socket.socket:
    """The token is looked up in the database."""
    connection = socket.create_connection(("127.0.0.1", port))
    head = (
        f"GET /api/v1/requests HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer sayso_none\r\n\r\n"
    )
    connection.sendall(head.encode())
    return connection
