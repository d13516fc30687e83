"""One agent at work in a real run, the web server it talks to, and leave to reach it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from approvals.database.threads import in_database
from orchestration.catalog import agents, orchestration
from orchestration.runs.run import Run
from tests import factories
from tests.orchestration.agents.web_server import WebServer, web_server
from tests.stacks import Stack


@orchestration("tests_one_agent")
async def one_agent(run: Run, *, agent: str, action: str, arguments: dict[str, Any]) -> Any:
    return await agents()[agent](run, action, arguments)


@pytest.fixture(autouse=True)
def allowed(settings: Settings) -> None:
    settings.SAYSO_HTTP_HOSTS = ["127.0.0.1"]
    settings.SAYSO_HTTP_NETWORKS = ["127.0.0.0/8"]
    settings.SAYSO_EMAIL_RECIPIENTS = ["*@example.org"]


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture
async def owner(stack: Stack) -> User:
    return await in_database(factories.user, "ana")
