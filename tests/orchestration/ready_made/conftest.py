"""The person for whom runs are started."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from approvals.database import in_database
from tests import factories
from tests.stacks import Stack


@pytest.fixture
async def owner(stack: Stack) -> User:
    return await in_database(factories.user, "ana")
