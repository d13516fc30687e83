"""Each setting has a default, is a key of SAYSO, and may be a Django setting of its own: that counts more."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from approvals.conf import ApprovalSettings, approval_settings, setting_names
from orchestration.conf import OrchestrationSettings, orchestration_settings

READ = {ApprovalSettings: approval_settings, OrchestrationSettings: orchestration_settings}
EVERY = [(kind, field.name) for kind in READ for field in fields(kind)]


@pytest.fixture(autouse=True)
def nothing_is_set(settings: Settings) -> None:
    settings.SAYSO = {}


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_each_is_told_in_either_way(settings: Settings, kind: type[Any], name: str) -> None:
    read: Any = READ[kind]
    default = getattr(read(), name)
    together, alone = ("a", "b") if isinstance(default, str | Path | tuple | None) else (3, 4)
    if isinstance(default, tuple):
        settings.SAYSO = {name.upper(): [together]}
        assert getattr(read(), name) == (together,)
        setattr(settings, f"SAYSO_{name.upper()}", [alone])
        assert getattr(read(), name) == (alone,)
        return
    settings.SAYSO = {name.upper(): together}
    assert str(getattr(read(), name)) == str(together)
    setattr(settings, f"SAYSO_{name.upper()}", alone)
    assert str(getattr(read(), name)) == str(alone)


def test_their_names_are_all_known() -> None:
    assert setting_names() == {name.upper() for _, name in EVERY}


def test_some_defaults_follow_from_others(settings: Settings) -> None:
    """The re-check from the layer, a worker's heartbeat from the lease, `var` from the project's folder."""
    settings.CHANNEL_LAYERS = {"own": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"}}
    settings.SAYSO = {"CHANNEL_LAYER": "own", "LEASE": 60.0}
    settings.BASE_DIR = Path("/srv/shop")
    assert approval_settings().recheck_interval == 30.0
    assert approval_settings().var == Path("/srv/shop/var")
    assert orchestration_settings().lease_renewal == 20.0
    settings.CHANNEL_LAYERS = {"own": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    assert approval_settings().recheck_interval == 2.0
