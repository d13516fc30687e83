"""Sayso's own log-in page, for projects without one: nobody need be staff."""

from __future__ import annotations

import pytest
from django.test import Client

from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]


def test_an_account_that_is_no_staff_logs_in_and_out() -> None:
    client, person = Client(), factories.user(password="correct horse battery staple")
    asked = client.get("/log-in/", {"next": "/tokens/"}).content.decode()
    assert 'name="username"' in asked
    refused = client.post("/log-in/", {"username": person.username, "password": "wrong"})
    assert "Please enter a correct username and password" in refused.content.decode()
    given = {"username": person.username, "password": "correct horse battery staple"}
    assert client.post("/log-in/", given)["Location"] == "/"
    assert client.post("/log-in/", {**given, "next": "/tokens/"})["Location"] == "/tokens/"
    assert client.get("/").status_code == 200
    assert client.post("/log-out/")["Location"] == "/log-in/"
    assert client.get("/").status_code == 302
