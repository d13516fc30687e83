"""The person for whom runs are started, and where they may clean up."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from approvals.database.threads import in_database
from tests import factories
from tests.stacks import Stack


@pytest.fixture(autouse=True)
def allowed(settings: Settings, tmp_path: Path) -> None:
    settings.SAYSO_CLEANUP_DIRECTORIES = [str(tmp_path)]


@pytest.fixture
async def owner(stack: Stack) -> User:
    return await in_database(factories.user, "ana")
