"""Who calls: tokens and sessions, their scopes, and when neither holds any more."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from approvals.database.clock import database_now
from approvals.models import ApiToken, AuditEntry
from approvals.web.edge import tokens
from tests import factories as make
from tests.approvals.web.api.program import ROOT, Program
from tests.marks import both_databases

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

CALLS: list[tuple[str, str, Any, set[str]]] = [
    # method, path, body, the scopes of which one is needed
    ("post", "/requests", {"kind": "approval", "title": "x"}, {"ask"}),
    ("get", "/requests", None, {"read"}),
    ("get", "/requests/{id}", None, {"read", "ask"}),
    ("get", "/requests/{id}/outcome", None, {"read", "ask"}),
    ("get", "/requests/{id}/history", None, {"read", "ask"}),
    ("post", "/requests/{id}/decision", {"decision": "approve"}, {"decide"}),
    ("post", "/requests/{id}/answer", {"answer": "x"}, {"decide"}),
    ("post", "/requests/{id}/reassign", {"users": []}, {"decide"}),
    ("post", "/requests/{id}/withdraw", {}, {"ask"}),
    ("post", "/requests/{id}/comments", {"text": "What for?"}, {"ask", "decide"}),
    ("get", "/requests/{id}/comments", None, {"read", "ask"}),
    ("post", "/outcomes", {"ids": ["x"]}, {"read", "ask"}),
    ("post", "/requests/withdraw", {"origin": {"id": "x"}}, {"ask"}),
    ("post", "/decisions", {"decisions": [{"request_id": "x", "decision": "approve"}]}, {"decide"}),
]


@pytest.fixture
def rita(stack: Any) -> User:
    return make.reviewer("rita", password="unlikely 1234")


def called(program: Program, method: str, path: str, body: Any) -> Any:
    client: Any = program.client
    given = {} if body is None else {"data": body, "content_type": "application/json"}
    return getattr(client, method)(ROOT + path, **given)


class TestScopes:
    @pytest.mark.parametrize(("method", "path", "body", "needed"), CALLS)
    @pytest.mark.parametrize("scope", ["ask", "decide", "read"])
    def test_a_token_does_what_its_scopes_say(
        self, rita: User, scope: str, method: str, path: str, body: Any, needed: set[str]
    ) -> None:
        own = make.approval(requester=rita, assignees=[rita])
        response = called(Program.of(rita, scope), method, path.format(id=own), body)
        if scope in needed:
            assert response.status_code in {200, 201, 202, 422}, response.content
        else:
            assert response.status_code == 403
            assert response.json()["code"] == "not_permitted"
            assert all(f"`{each}`" in response.json()["detail"] for each in needed)

    @pytest.mark.parametrize(("method", "path", "body", "needed"), CALLS)
    def test_a_person_with_a_session_may_use_all(
        self, rita: User, method: str, path: str, body: Any, needed: set[str]
    ) -> None:
        own = make.approval(requester=rita, assignees=[rita])
        response = called(Program.in_session(rita), method, path.format(id=own), body)
        assert response.status_code in {200, 201, 202, 422}, response.content

    @both_databases
    @pytest.mark.parametrize("path", ["", "/outcome", "/history", "/comments"])
    def test_asking_alone_sees_just_its_own(self, rita: User, path: str) -> None:
        """Though its user sees more."""
        own, other = make.approval(requester=rita), make.approval()
        asking = Program.of(rita, "ask")
        assert called(asking, "get", f"/requests/{own}{path}", None).status_code in {200, 202}
        assert asking.get(f"/requests/{other}{path}", 404)["code"] == "unknown_request"
        assert (
            called(Program.of(rita, "ask", "read"), "get", f"/requests/{other}{path}", None).status_code < 300
        )

    @both_databases
    def test_asking_alone_takes_back_just_its_own(self, stack: Any) -> None:
        manager = make.user(may=("change_humanrequest", "view_humanrequest"))
        other = make.approval()
        Program.of(manager, "ask").post(f"/requests/{other}/withdraw", {}, 404)
        assert Program.of(manager, "ask", "read").post(f"/requests/{other}/withdraw")["withdrawn"] is True

    def test_a_token_gives_its_user_no_right_that_he_has_not(self, stack: Any) -> None:
        asker = make.user()
        request_id = make.approval(requester=asker)
        Program.of(asker).post(f"/requests/{request_id}/decision", {"decision": "approve"}, 403)


class TestTokens:
    def test_the_trail_names_the_token(self, rita: User) -> None:
        request_id = make.approval()
        Program.of(rita).post(f"/requests/{request_id}/decision", {"decision": "approve"})
        entry = AuditEntry.objects.get(request_id=request_id, event="decided")
        assert (entry.actor, entry.channel, entry.token_id) == (rita, "api", ApiToken.objects.get().pk)

    @pytest.mark.parametrize(
        "authorization", ["Bearer nonsense", "Bearer ", "bearer", "Bearer a b", "Bearer \xe4"]
    )
    def test_what_is_no_token_is_refused(self, stack: Any, authorization: str) -> None:
        response = Client(headers={"authorization": authorization}).get(f"{ROOT}/requests")
        assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")

    def test_an_expired_one_is_refused(self, rita: User) -> None:
        token, secret = tokens.issue(rita.pk, "t", ["read"])
        ApiToken.writing.filter(pk=token.pk).update(expires_at=database_now())
        Program.with_secret(secret).get("/requests", 401)

    def test_a_revoked_one_is_refused_at_the_next_call(self, rita: User) -> None:
        token, secret = tokens.issue(rita.pk, "t", ["read"])
        program = Program.with_secret(secret)
        program.get("/requests")
        tokens.revoke(token.pk, None)
        program.get("/requests", 401)

    def test_a_user_who_is_not_active_any_more_has_none(self, rita: User) -> None:
        program = Program.of(rita)
        rita.is_active = False
        rita.save()
        program.get("/requests", 401)

    def test_one_that_does_not_hold_is_refused_whatever_session_comes_with_it(self, rita: User) -> None:
        program = Program.in_session(rita)
        program.get("/requests")
        response = program.client.get(f"{ROOT}/requests", headers={"authorization": "Bearer nonsense"})
        assert response.status_code == 401

    def test_other_schemes_are_for_others(self, rita: User) -> None:
        """A proxy's own password, say, does not stand in the way of a session."""
        response = Program.in_session(rita).client.get(
            f"{ROOT}/requests", headers={"authorization": "Basic eDp5"}
        )
        assert response.status_code == 200

    def test_no_csrf_token_is_needed(self, rita: User) -> None:
        _, secret = tokens.issue(rita.pk, "t", ["ask"])
        client = Client(enforce_csrf_checks=True, headers={"authorization": f"Bearer {secret}"})
        body = {"kind": "approval", "title": "x"}
        assert client.post(f"{ROOT}/requests", body, content_type="application/json").status_code == 201


class TestSessions:
    def test_nobody_gets_nothing(self, stack: Any) -> None:
        for method, path, body, _ in CALLS:
            response = called(Program(Client()), method, path.format(id="x"), body)
            assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")

    def test_what_changes_something_needs_the_csrf_token(self, rita: User) -> None:
        program = Program.in_session(rita, enforce_csrf_checks=True)
        assert program.ask(status=403)["code"] == "not_permitted"
        program.get("/requests")
        program.client.get("/api/v1/docs")
        csrf_token = program.client.cookies["csrftoken"].value
        response = program.client.post(
            f"{ROOT}/requests",
            {"kind": "approval", "title": "x"},
            content_type="application/json",
            headers={"x-csrftoken": csrf_token},
        )
        assert response.status_code == 201

    @pytest.mark.parametrize("form", ["application/x-www-form-urlencoded", "multipart/form-data"])
    def test_a_form_of_another_site_is_no_call(self, rita: User, form: str) -> None:
        client = Program.in_session(rita, enforce_csrf_checks=True).client
        response = client.generic("POST", f"{ROOT}/requests", b'{"kind": "approval"}', content_type=form)
        assert (response.status_code, response.json()["code"]) == (422, "invalid")

    def test_one_that_was_logged_out_does_not_hold(self, rita: User) -> None:
        program = Program.in_session(rita)
        key = program.client.cookies["sessionid"].value
        program.client.logout()
        assert Client(headers={"cookie": f"sessionid={key}"}).get(f"{ROOT}/requests").status_code == 401

    def test_the_trail_names_no_token(self, rita: User) -> None:
        request = Program.in_session(rita).ask()
        entry = AuditEntry.objects.get(request_id=request["id"])
        assert (entry.actor, entry.channel, entry.token_id) == (rita, "api", None)
