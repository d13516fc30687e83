"""Failpoints do what the settings of tests say, and can't be set off in an installation."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from approvals.process import failpoints
from tests.processes import bare_environment
from tests.stacks import installation_settings


def armed(settings: Settings, actions: Mapping[str, str]) -> None:
    settings.SAYSO_FAILPOINTS = actions


def test_without_the_setting_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    failpoints.reach("decided")
    assert caplog.records == []


def test_only_the_named_place_is_armed(settings: Settings) -> None:
    armed(settings, {"elsewhere": "raise"})
    failpoints.reach("decided")
    with pytest.raises(failpoints.Reached, match="elsewhere"):
        failpoints.reach("elsewhere")


def test_a_pause_ends(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    armed(settings, {"decided": "pause:0.01"})
    began = time.monotonic()
    failpoints.reach("decided")
    assert time.monotonic() - began >= 0.01
    assert "failpoint reached name=decided action=pause:0.01" in caplog.text


def test_an_unknown_action_is_a_mistake(settings: Settings) -> None:
    armed(settings, {"decided": "explode"})
    with pytest.raises(ValueError, match="explode"):
        failpoints.reach("decided")


def test_no_environment_of_an_installation_sets_one_off(tmp_path: Path) -> None:
    """Neither by the setting's own name nor by those that the settings of the fault tests read."""
    said = '{"decided": "kill"}'
    environment = {"SAYSO_FAILPOINTS": said, "SAYSO_TEST_FAILPOINTS": said, "SAYSO_VAR": str(tmp_path)}
    assert "SAYSO_FAILPOINTS" not in installation_settings(bare_environment() | environment)
