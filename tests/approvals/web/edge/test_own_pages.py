"""Pages of ours have their policy and marks in any project, and no transaction around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.test import RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver
from pytest_django import Settings

from approvals.web.edge.own_pages import POLICY, own_page

HIDDEN = "pay\u202edrow"


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"<p>{HIDDEN}</p>")


def rendered_later(request: HttpRequest) -> TemplateResponse:
    template: Any = engines["django"].from_string(f"<p>{HIDDEN}</p>")
    return TemplateResponse(request, template)


@pytest.mark.parametrize("view", [plain, rendered_later])
def test_a_page_has_its_policy_and_marks(view: Callable[..., Any]) -> None:
    response = own_page(view)(RequestFactory().get("/"))
    if not getattr(response, "is_rendered", True):
        response.render()
    assert "default-src 'none'" in response[POLICY]
    assert "U+202E" in response.content.decode()


def test_files_of_another_host_may_be_loaded_where_static_files_are_there(settings: Settings) -> None:
    settings.STATIC_URL = "https://cdn.example.com/static/"
    assert "script-src 'self' https://cdn.example.com;" in own_page(plain)(RequestFactory().get("/"))[POLICY]


def test_a_project_may_have_its_own_policy_or_leave_it_to_its_middleware(settings: Settings) -> None:
    settings.SAYSO_CONTENT_SECURITY_POLICY = "default-src 'self'"
    assert own_page(plain)(RequestFactory().get("/"))[POLICY] == "default-src 'self'"
    settings.SAYSO_CONTENT_SECURITY_POLICY = ""
    assert POLICY not in own_page(plain)(RequestFactory().get("/"))


@pytest.mark.urls("orchestration.urls")
def test_every_view_is_outside_of_atomic_requests() -> None:
    """A decision is on record once its own transaction commits; Django's must not be around it."""
    views = list(views_below(get_resolver()))
    assert len(views) > 20
    assert [
        view for view in views if not set(connections) <= getattr(view, "_non_atomic_requests", set())
    ] == []


def views_below(resolver: URLResolver) -> list[Any]:
    found: list[Any] = []
    for each in resolver.url_patterns:
        found += views_below(each) if isinstance(each, URLResolver) else [each.callback]
        assert isinstance(each, URLResolver | URLPattern)
    return found
