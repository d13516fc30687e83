"""What a project lacks is named, with the line to add; journeys/test_install.py adds the page's lines."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings
from pytest_django import Settings

from approvals import project_checks as checks
from tests.approvals.test_checks import ids


def test_the_checkouts_own_site_lacks_nothing() -> None:
    for check in (checks.check_parts, checks.check_accounts, checks.check_channel_layer, checks.check_urls):
        assert list(check()) == []
    for check in (checks.check_templates, checks.check_asgi):
        assert list(check()) == []


@pytest.mark.parametrize(
    ("name", "value", "check", "expected"),
    [
        ("MIDDLEWARE", [], checks.check_parts, ["sayso.E042"] * 3),
        ("USE_TZ", False, checks.check_parts, ["sayso.E046"]),
        ("CHANNEL_LAYERS", {}, checks.check_channel_layer, ["sayso.E044"]),
        ("SAYSO_CHANNEL_LAYER", "sayso", checks.check_channel_layer, ["sayso.E044"]),
        ("LOGIN_URL", "/nowhere/", checks.check_urls, ["sayso.W043"]),
        ("LOGIN_URL", "nowhere", checks.check_urls, ["sayso.W043"]),
        ("LOGIN_URL", "https://login.example.com/", checks.check_urls, []),
        ("ASGI_APPLICATION", "", checks.check_asgi, ["sayso.W041"]),
        ("ASGI_APPLICATION", "django.core.asgi.get_asgi_application", checks.check_asgi, ["sayso.W042"]),
        ("ASGI_APPLICATION", "nowhere.asgi.application", checks.check_asgi, []),
    ],
)
def test_what_is_missing_is_named(
    settings: Settings, name: str, value: Any, check: Any, expected: list[str]
) -> None:
    setattr(settings, name, value)
    assert ids(check()) == expected


def test_templates_need_those_of_apps_and_what_they_show() -> None:
    engine = {"BACKEND": "django.template.backends.django.DjangoTemplates"}
    with override_settings(TEMPLATES=[engine]):
        assert ids(checks.check_templates()) == ["sayso.E045", "sayso.E047", "sayso.E047"]


@pytest.mark.urls("tests.approvals.web.without_ours")
def test_urls_that_do_not_include_ours_are_named(settings: Settings) -> None:
    settings.LOGIN_URL = "/login/"
    assert ids(checks.check_urls()) == ["sayso.E043"]


@pytest.mark.urls("tests.approvals.web.shares_a_name")
def test_a_name_that_is_the_projects_too_is_named(settings: Settings) -> None:
    """Not one in a namespace."""
    settings.LOGIN_URL = "/login/"
    (message,) = checks.check_urls()
    assert message.id == "sayso.W045"
    assert "'inbox'" in message.msg


def test_a_runserver_without_sockets_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is what runs; this site installs daphne's for that command alone."""
    assert list(checks.check_runserver()) == []
    monkeypatch.setattr("sys.argv", ["manage.py", "runserver"])
    assert ids(checks.check_runserver()) == ["sayso.W050"]
