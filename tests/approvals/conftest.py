"""What the tests of webhooks share: a receiver that may be posted to, and outcomes for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from tests.approvals.delivery.webhooks.receiver import Receiver, receiver


@pytest.fixture
def allowed(settings: Settings) -> None:
    """Receivers of this computer may be posted to."""
    settings.SAYSO_CALLBACK_HOSTS = ["localhost", "127.0.0.1", "hooks.example.org"]
    settings.SAYSO_CALLBACK_NETWORKS = ["127.0.0.0/8"]


@pytest.fixture
def hook(allowed: None) -> Iterator[Receiver]:
    with receiver() as running:
        yield running
