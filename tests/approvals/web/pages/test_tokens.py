"""The page of one's own API tokens: they are made, shown once, and revoked by whose they are."""

from __future__ import annotations

import logging
import re
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core import serializers
from django.test import Client

from approvals.models import ApiToken
from approvals.web.edge import tokens
from tests import factories as make
from tests.clients import client_of, text
from tests.marks import both_databases

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

TOKENS = "/tokens/"
SECRET = re.compile(r"sayso_[\w-]{43}")


@pytest.fixture
def ann() -> User:
    return make.user("ann")


@pytest.fixture
def client(ann: User) -> Client:
    return client_of(ann)


def made(client: Client, **said: Any) -> str:
    """Make a token on the page; return its secret."""
    response = client.post(TOKENS, {"name": "deploy", "scopes": ["ask", "read"], **said})
    (secret,) = SECRET.findall(text(response))
    return str(secret)


@both_databases
def test_a_token_that_was_made_acts_as_its_maker_within_its_scopes(client: Client, ann: User) -> None:
    bearer = tokens.bearer(made(client, scopes=["ask"], lifetime="1.5"))
    token = ApiToken.objects.get()
    assert bearer is not None
    assert (bearer.user_id, sorted(bearer.scopes)) == (ann.pk, ["ask"])
    assert (token.name, (token.expires_at - token.created_at).total_seconds()) == ("deploy", 1.5 * 86_400)


def test_the_token_is_shown_in_one_response_and_kept_nowhere(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in the database nor in the session, the log, a cache, or the page when it is loaded again."""
    with caplog.at_level(logging.DEBUG):
        response = client.post(TOKENS, {"name": "deploy", "scopes": ["read"]})
    (secret,) = SECRET.findall(text(response))
    assert "no-store" in response["Cache-Control"]
    stored = serializers.serialize("json", [*ApiToken.objects.all(), *Session.objects.all()])
    said = [caplog.text, stored, str(dict(client.session)), response.headers.__repr__()]
    assert not any(secret in one for one in [*said, text(client.get(TOKENS))])
    assert ApiToken.objects.get().prefix in text(client.get(TOKENS))


def test_what_is_refused_says_so_at_its_field_and_makes_nothing(client: Client) -> None:
    for said, words in (
        ({"name": ""}, "Name"),
        ({"name": "x" * 101}, "100"),
        ({"name": "two\nlines"}, "line"),
        ({"scopes": []}, "Scopes"),
        ({"scopes": ["rule"]}, "Scopes must be"),
        ({"lifetime": "0"}, "must be more than 0"),
        ({"lifetime": "-1"}, "must be more than 0"),
        ({"lifetime": "nan"}, "number"),
        ({"lifetime": "1e9"}, "100 years"),
    ):
        response = client.post(TOKENS, {"name": "deploy", "scopes": ["ask"], **said})
        page = text(response, 422)
        assert words in page, said
        assert not SECRET.search(page)
    assert not ApiToken.objects.exists()


def test_one_sees_and_revokes_ones_own_and_nobody_elses(client: Client, ann: User) -> None:
    mine, _ = tokens.issue(ann.pk, "mine", ["read"])
    foreign, _ = tokens.issue(make.user().pk, "foreign", ["read"])
    page = text(client.get(TOKENS))
    assert "mine" in page
    assert "foreign" not in page
    for token_id in (foreign.pk, uuid4()):
        assert client.post(f"{TOKENS}{token_id}/revoke/").status_code == 404
    assert "was not recorded" in client.get(f"{TOKENS}{mine.pk}/revoke/", follow=True).text
    assert ApiToken.objects.filter(revoked_at__isnull=True).count() == 2
    response = client.post(f"{TOKENS}{mine.pk}/revoke/", follow=True)
    assert response.redirect_chain == [(TOKENS, 303)]
    assert "Revoked" in text(response)
    assert set(ApiToken.objects.filter(revoked_at__isnull=True)) == {foreign}
    assert ApiToken.objects.get(pk=mine.pk).revoked_by == ann
    first = ApiToken.objects.get(pk=mine.pk).revoked_at
    client.post(f"{TOKENS}{mine.pk}/revoke/")
    assert ApiToken.objects.get(pk=mine.pk).revoked_at == first


def test_the_page_is_for_people_who_are_logged_in_and_forged_forms_are_refused(ann: User) -> None:
    """A token makes no tokens: the page takes no other credentials than a session."""
    _, secret = tokens.issue(ann.pk, "program", ["ask", "read", "decide"])
    strict = client_of(ann, enforce_csrf_checks=True)
    assert strict.post(TOKENS, {"name": "forged", "scopes": ["ask"]}).status_code == 403
    for headers in ({}, {"authorization": f"Bearer {secret}"}):
        response = Client().post(TOKENS, {"name": "forged", "scopes": ["ask"]}, headers=headers)
        assert response.status_code == 302
    assert ApiToken.objects.get().name == "program"


def test_each_page_leads_to_the_tokens_and_to_the_description_of_the_api(client: Client) -> None:
    page = client.get("/").content.decode()
    assert f'href="{TOKENS}"' in page
    assert 'href="/api/v1/docs"' in page
    assert client.get("/api/v1/docs").status_code == 200
