"""Fetching changes nothing: whatever address a scanner, a crawler or a browser asks for, the trail stays."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern
from pytest_django import Settings

from approvals.delivery import personal_links, unsubscribing
from approvals.models import AuditEntry, HumanRequest, Notification
from approvals.queries.notices import notices
from approvals.web.edge import tokens
from orchestration.manager import OrchestrationManager
from tests import factories as make
from tests.clients import client_of
from tests.told import told

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

# What comes unasked, by method and headers: to nobody's browser, and to that of who may decide.
SCANNERS: list[tuple[str, dict[str, str]]] = [("get", {}), ("head", {}), ("options", {})]
BROWSERS: list[tuple[str, dict[str, str]]] = [
    ("get", {"Sec-Purpose": "prefetch"}),
    ("head", {}),
    ("options", {}),
]
# Pages of other apps, which know nothing of requests, and what is no page.
OTHERS = re.compile(r"admin/(?!approvals/|orchestration/|reports/)\w|accounts/|api/|healthz/|metrics")


def test_no_page_and_no_link_changes_the_trail_when_it_is_fetched(settings: Settings, tmp_path: Path) -> None:
    settings.SAYSO_NOTIFY, settings.SAYSO_URL = "on", "https://sayso.example.com"
    settings.SAYSO_LINKS, settings.SAYSO_CLEANUP_DIRECTORIES = "personal", [str(tmp_path)]
    settings.SAYSO_RATE_LIMIT = 0
    ada = make.user("ada", email="ada@example.org", is_staff=True, is_superuser=True)
    notification = told("Pay", assignees=[ada], requester=ada)
    known = parameters_of(notification, ada, tmp_path)
    found = sorted(set(addresses(get_resolver(), "/", known)))
    assert {f"/d/{known['d']}/", f"/requests/{known['request_id']}/"} <= set(found)
    before = on_record()
    for client, unasked in ((Client(), SCANNERS), (client_of(ada), BROWSERS)):
        for address in found:
            for method, headers in unasked:
                response = getattr(client, method)(address, headers=headers)
                assert response.status_code < 500, (method, address)
            assert on_record() == before, address


def on_record() -> tuple[list[Any], list[Any]]:
    entries = AuditEntry.objects.order_by("pk").values_list("request", "event", "actor")
    return list(entries), list(HumanRequest.objects.order_by("pk").values_list("status", "trail_length"))


def parameters_of(notification: Notification, ada: User, directory: Path) -> dict[str, Any]:
    """What the parameters of addresses stand for; tokens are named by the folder that they are in."""
    (notice,) = notices([notification.pk])
    token, _ = tokens.issue(ada.pk, "deploy", ["decide"])
    return {
        "request_id": notification.request_id,
        "notification_id": notification.pk,
        "delegation_id": make.delegation(ada, make.user()),
        "destination_id": notification.destination_id,
        "token_id": token.pk,
        "callback_id": uuid4(),
        "run_id": OrchestrationManager().start("disk_cleanup", {"directory": str(directory)}, ada),
        "step_id": 1,
        "name": "htmx.min.js",
        "d": personal_links.make_token(notice),
        "unsubscribe": unsubscribing.token_of(notification.destination_id),
    }


def addresses(resolver: URLResolver, before: str, known: Mapping[str, Any]) -> Iterator[str]:
    """Yield every address of the site; KeyError for a parameter that nobody has said anything of."""
    for one in resolver.url_patterns:
        route = f"{before}{one.pattern}"
        if not isinstance(one.pattern, RoutePattern) or OTHERS.match(route[1:]):
            continue
        if isinstance(one, URLResolver):
            yield from addresses(one, route, known)
        elif isinstance(one, URLPattern):
            yield _filled(route, known)


def _filled(route: str, known: Mapping[str, Any]) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: str(_value(found[1], route, known)), route)


def _value(parameter: str, route: str, known: Mapping[str, Any]) -> Any:
    folders = route.strip("/").split("/")
    if parameter == "object_id":  # of the admin: any row of its model
        model: Any = apps.get_model(folders[1], folders[2])
        row = model._default_manager.first()
        return uuid4() if row is None else row.pk
    return known[folders[0] if parameter == "token" else parameter]
