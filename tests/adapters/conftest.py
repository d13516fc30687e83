"""The adapters of the client with the frameworks themselves, against a server that a module shares.

Nothing here is collected unless the environment variable SAYSO_TEST_ADAPTERS is set: the frameworks are no
part of this project's test environment. `.ci/adapters` installs them and sets it, and SAYSO_TEST_HOSTS: the
folder of a virtual environment with the engines of docs/recipes.md.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
from sayso_client import AsyncSayso

from approvals.web.edge import tokens
from tests import factories as make
from tests.adapters.desk import desk
from tests.processes import Server
from tests.shared import server, shared_server

__all__ = ["asking", "deciding", "desk", "reviewer", "server", "shared_server"]

collect_ignore_glob = [] if os.environ.get("SAYSO_TEST_ADAPTERS") else ["test_*.py"]
collect_ignore = [] if os.environ.get("SAYSO_TEST_HOSTS") else ["test_recipes.py"]


@pytest.fixture
def asking() -> str:
    """The token of a program that asks."""
    return tokens.issue(make.user("billing").pk, "agent", ["ask"])[1]


@pytest.fixture
def deciding() -> str:
    return tokens.issue(make.reviewer("ann").pk, "page", ["decide", "read"])[1]


@pytest.fixture
async def reviewer(server: Server, deciding: str) -> AsyncIterator[AsyncSayso]:
    """Ann, who decides."""
    async with AsyncSayso(server.url, deciding) as sayso:
        yield sayso
