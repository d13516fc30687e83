"""What is answered where something was raised: 503 while the database takes nothing, else 500."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.test import Client, RequestFactory
from django.test.utils import override_script_prefix

from approvals.exceptions import ApprovalError, Busy, RateLimited, Unavailable
from approvals.web.edge.throttling import refusal_page
from orchestration.web.errors import server_error
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.stacks("sqlite-memory")]


@pytest.fixture
def read_only(stack: Any) -> Iterator[None]:
    factories.user("ada", password="right", is_staff=True)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = ON")
        yield
        cursor.execute("PRAGMA query_only = OFF")


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize("path", ["/accounts/login/", "/admin/login/"])
def test_who_logs_in_while_nothing_can_be_written_is_told_so(path: str) -> None:
    client = Client(raise_request_exception=False)
    answer = client.post(path, {"username": "ada", "password": "right"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert "The database is read-only at the moment." in answer.content.decode()


@pytest.mark.parametrize("error", [OperationalError("gone"), InterfaceError("closed"), ValueError("a slip")])
def test_it_is_a_problem_for_programs_and_what_is_our_mistake_stays_one(error: Exception) -> None:
    answers = []
    for path in ("/runs/", "/api/v1/runs"):
        try:
            raise error
        except type(error):
            answers.append(server_error(RequestFactory().get(path)))
    page, problem = answers
    if isinstance(error, ValueError):
        assert {page.status_code, problem.status_code} == {500}
    else:
        assert (page.status_code, problem.status_code) == (503, 503)
        assert b"The database does not answer at the moment." in page.content
        assert problem.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("error", [RateLimited("Slower."), Busy("Busy."), Unavailable("Away.")])
def test_each_refusal_leads_back_below_the_path_prefix(error: ApprovalError) -> None:
    with override_script_prefix("/sayso/"):
        page = refusal_page(error).content.decode()
    assert error.detail in page
    assert '<a class="button" href="/sayso/">' in page
