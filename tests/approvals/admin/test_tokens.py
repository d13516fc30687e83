"""API tokens in the admin: to read for those concerned, to revoke for those who may, and nothing else."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.core import serializers
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from approvals import deciding
from approvals.database.clock import database_now
from approvals.domain.commands import Channel
from approvals.exceptions import InvalidRequest
from approvals.models import ApiToken
from approvals.web.edge import tokens
from approvals.web.edge.token_makers import issue_by
from tests import factories as make
from tests.clients import client_of
from tests.marks import both_databases

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

TOKENS = "/admin/approvals/apitoken/"


@pytest.fixture
def boss() -> User:
    return make.user("boss", is_staff=True, is_superuser=True)


@pytest.fixture
def guard() -> User:
    return make.user("guard", may=("revoke_apitoken",), is_staff=True)


@pytest.fixture
def sam() -> User:
    """Staff, without any permission."""
    return make.user("sam", is_staff=True)


def text(response: Any) -> str:
    assert response.status_code == 200, response
    return str(response.content.decode())


def issued(person: User, name: str, *scopes: str) -> ApiToken:
    token, _ = tokens.issue(person.pk, name, scopes or ["ask", "read"])
    return token


def revoked(token: ApiToken) -> bool:
    return ApiToken.objects.get(pk=token.pk).revoked_at is not None


class TestWhoSees:
    @pytest.mark.parametrize("codename", ["revoke_apitoken", "view_apitoken", ""])
    def test_all_for_those_who_may_see_or_revoke_any_and_for_superusers(self, codename: str) -> None:
        token = issued(make.user(), "deploy")
        may = (codename,) if codename else ()
        client = client_of(make.user(may=may, is_staff=True, is_superuser=not codename))
        assert "deploy" in text(client.get(TOKENS))
        assert "deploy" in text(client.get(f"{TOKENS}{token.pk}/change/"))

    def test_their_own_for_other_staff(self, sam: User) -> None:
        mine, foreign = issued(sam, "mine"), issued(make.user(), "foreign")
        client = client_of(sam)
        listed = text(client.get(TOKENS))
        assert "mine" in listed
        assert "foreign" not in listed
        assert "mine" in text(client.get(f"{TOKENS}{mine.pk}/change/"))
        assert client.get(f"{TOKENS}{foreign.pk}/change/").status_code == 404

    def test_nothing_for_people_who_are_not_staff(self) -> None:
        ann = make.user("ann", may=("revoke_apitoken",))
        token = issued(ann, "deploy")
        client = client_of(ann)
        for address in (TOKENS, f"{TOKENS}{token.pk}/change/", f"{TOKENS}{token.pk}/revoke/"):
            assert client.get(address).status_code == 302
        assert client.post(f"{TOKENS}{token.pk}/revoke/").status_code == 302
        assert not revoked(token)


class TestReading:
    @both_databases
    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("", {"first", "second", "third", "fourth"}),
            ("state=active", {"first"}),
            ("state=revoked", {"second"}),
            ("state=expired", {"third"}),
            ("state=suspended", {"fourth"}),
            ("scope=decide", {"second"}),
            ("scope=ask", {"first", "third", "fourth"}),
            ("user__id__exact={sam}", {"fourth"}),
            ("q=ann", {"first", "second", "third"}),
            ("q=third", {"third"}),
            ("q={prefix}", {"first"}),
            ("created_at__year=1999", set()),
        ],
    )
    def test_tokens_are_filtered_and_searched(
        self, guard: User, sam: User, query: str, names: set[str]
    ) -> None:
        ann = make.user("ann")
        first, second, third = issued(ann, "first"), issued(ann, "second", "decide"), issued(ann, "third")
        issued(sam, "fourth")
        tokens.revoke(second.pk, None)
        ApiToken.writing.filter(pk=third.pk).update(expires_at=database_now())
        User.objects.filter(pk=sam.pk).update(is_active=False)
        page = text(client_of(guard).get(f"{TOKENS}?{query.format(sam=sam.pk, prefix=first.prefix)}"))
        assert {name for name in ("first", "second", "third", "fourth") if f"{name} <code>" in page} == names

    def test_a_token_shows_whose_it_is_what_it_may_and_when_it_was_used(self, guard: User) -> None:
        """And neither its secret nor the hash of it."""
        ann = make.user("ann")
        token, secret = tokens.issue(ann.pk, "deploy", ["ask"], lifetime=3600)
        tokens.bearer(secret)
        page = text(client_of(guard).get(f"{TOKENS}{token.pk}/change/"))
        for piece in ("deploy", token.prefix, "ann", "ask", "Active", "to the minute"):
            assert piece in page
        assert secret not in page
        assert token.secret_hash not in page

    @both_databases
    def test_what_it_did_last_is_told_as_far_as_one_may_see_it(self, guard: User, boss: User) -> None:
        """Whoever may end tokens does not thereby read requests."""
        ann = make.reviewer("ann")
        token = issued(ann, "deploy")
        actor = make.actor(ann, Channel.API, token_id=token.pk, user_agent="curl/8")
        request_id = make.approval("Refund ACME", requester=ann, actor=actor)
        deciding.decide(actor, request_id, "approve")
        page = text(client_of(boss).get(f"{TOKENS}{token.pk}/change/"))
        for piece in ("Opened", "Decided", "Refund ACME", "curl/8"):
            assert piece in page
        assert f"/admin/approvals/auditentry/?token={token.pk}" in page
        assert "Refund ACME" not in text(client_of(guard).get(f"{TOKENS}{token.pk}/change/"))

    @pytest.mark.parametrize("address", ["", "{token}/change/"])
    def test_the_number_of_queries_does_not_grow_with_the_list(self, boss: User, address: str) -> None:
        client = client_of(boss)
        ann = make.user("ann")
        token = issued(ann, "first")

        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                text(client.get(TOKENS + address.format(token=token.pk)))
            return len(captured)

        self.use(ann, token, 2)
        few = queries()
        self.use(ann, token, 8)
        assert queries() == few

    def test_nobody_changes_or_deletes(self, boss: User) -> None:
        """Superusers included: tokens are made and revoked."""
        token = issued(boss, "deploy")
        client = client_of(boss)
        assert client.post(f"{TOKENS}{token.pk}/delete/", {"post": "yes"}).status_code == 403
        client.post(f"{TOKENS}{token.pk}/change/", {"name": "Changed", "scopes": '["decide"]'})
        client.post(TOKENS, {"action": "delete_selected", "_selected_action": [token.pk], "post": "yes"})
        (left,) = ApiToken.objects.all()
        assert (left.name, left.scopes) == ("deploy", ["ask", "read"])

    @staticmethod
    def use(person: User, token: ApiToken, number: int) -> None:
        for _ in range(number):
            issued(make.user(), "another")
            make.approval(requester=person, actor=make.actor(person, Channel.API, token_id=token.pk))


class TestMaking:
    SAID = {"user": "bot", "name": "nightly", "scopes": ["ask", "read"], "lifetime": "30"}

    @pytest.fixture
    def administrator(self) -> User:
        """As in the group of that name."""
        return make.user("ada", groups=(Group.objects.get(name="administrator"),), is_staff=True)

    @both_databases
    def test_an_administrator_makes_one_for_an_account_and_sees_it_once(self, administrator: User) -> None:
        bot = make.user("bot")
        client = client_of(administrator)
        assert f'href="{TOKENS}add/"' in text(client.get(TOKENS))
        response = client.post(f"{TOKENS}add/", self.SAID)
        (secret,) = re.findall(r"sayso_[\w-]{43}", text(response))
        assert "no-store" in response["Cache-Control"]
        bearer = tokens.bearer(secret)
        assert bearer is not None
        assert (bearer.user_id, sorted(bearer.scopes)) == (bot.pk, ["ask", "read"])
        page = text(client.get(f"{TOKENS}{bearer.token_id}/change/"))
        assert "by ada" in page
        assert secret not in page
        assert secret not in serializers.serialize("json", LogEntry.objects.all())

    def test_the_log_keeps_no_name_of_a_token(self, administrator: User) -> None:
        """Names go when an account is forgotten."""
        make.user("bot")
        client_of(administrator).post(f"{TOKENS}add/", self.SAID)
        entry = LogEntry.objects.get()
        assert (entry.user, entry.object_repr) == (administrator, f"{ApiToken.objects.get().prefix}…")

    @pytest.mark.parametrize(
        ("may", "more", "said", "words"),
        [
            (("decide_humanrequest",), {}, {}, "you lack: approvals.decide_humanrequest."),
            (("add_run", "ask_without_limit"), {}, {}, "approvals.ask_without_limit, orchestration.add_run."),
            ((), {"is_superuser": True}, {}, "must not be a superuser"),
            ((), {}, {"scopes": ["ask", "decide"]}, "nobody decides in the name of another account"),
            ((), {"is_active": False}, {}, "must be an active one"),
            ((), {}, {"user": "nobody"}, "no account of this name"),
        ],
    )
    def test_nobody_makes_one_that_can_do_more_than_they_can(
        self,
        administrator: User,
        may: tuple[str, ...],
        more: dict[str, Any],
        said: dict[str, Any],
        words: str,
    ) -> None:
        make.user("bot", may=may, **more)
        response = client_of(administrator).post(f"{TOKENS}add/", self.SAID | said)
        assert response.status_code == 422
        assert words in unescape(response.content.decode())
        assert not ApiToken.objects.exists()

    def test_one_makes_any_for_oneself(self, administrator: User) -> None:
        said = self.SAID | {"user": "ada", "scopes": ["ask", "read", "decide"]}
        assert client_of(administrator).post(f"{TOKENS}add/", said).status_code == 200
        assert ApiToken.objects.get().user == administrator

    @pytest.mark.parametrize("left", ["change_user", "view_humanrequest", "change_humanrequest", "view_run"])
    def test_who_does_not_manage_accounts_and_what_they_ask_makes_none_for_others(self, left: str) -> None:
        """Each of these would let them read or do by a token what they may not."""
        held = {"change_user", "view_humanrequest", "change_humanrequest", "view_run", "change_run"} - {left}
        eve = make.user("eve", may=tuple(held), is_staff=True)
        make.user("bot")
        client = client_of(eve)
        assert "Make a token" not in text(client.get(TOKENS))
        assert client.get(f"{TOKENS}add/").status_code == 403
        assert client.post(f"{TOKENS}add/", self.SAID).status_code == 403
        with pytest.raises(InvalidRequest, match="only administrators"):
            issue_by(eve, User.objects.get(username="bot"), "x", ["ask"])
        assert not ApiToken.objects.exists()

    def test_forged_forms_are_refused(self, administrator: User) -> None:
        make.user("bot")
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(administrator)
        assert strict.post(f"{TOKENS}add/", self.SAID).status_code == 403
        assert not ApiToken.objects.exists()


class TestRevoking:
    @pytest.mark.parametrize("who", ["guard", "boss"])
    def test_who_may_confirms_and_the_token_is_worth_nothing(
        self, request: pytest.FixtureRequest, who: str
    ) -> None:
        person: User = request.getfixturevalue(who)
        token, secret = tokens.issue(make.user("ann").pk, "deploy", ["read"])
        client, address = client_of(person), f"{TOKENS}{token.pk}/revoke/"
        assert address in text(client.get(f"{TOKENS}{token.pk}/change/"))
        assert "be undone" in text(client.get(address))
        assert tokens.bearer(secret) is not None
        response = client.post(address, follow=True)
        assert response.redirect_chain == [(f"{TOKENS}{token.pk}/change/", 302)]
        page = text(response)
        assert "was revoked: it no longer works" in page
        assert f"by {who}" in page
        assert address not in page
        assert tokens.bearer(secret) is None

    def test_a_second_time_says_so_and_changes_nothing(self, guard: User, boss: User) -> None:
        token = issued(boss, "deploy")
        address = f"{TOKENS}{token.pk}/revoke/"
        client_of(guard).post(address)
        client = client_of(boss)
        assert "already revoked" in text(client.get(address))
        assert "was already revoked" in text(client.post(address, follow=True))
        assert ApiToken.objects.get(pk=token.pk).revoked_by == guard

    def test_who_may_not_has_no_button_and_is_refused(self, sam: User) -> None:
        """Not even one's own; nor by the permission to see all."""
        vera = make.user("vera", may=("view_apitoken", "change_apitoken"), is_staff=True)
        token = issued(sam, "mine")
        address = f"{TOKENS}{token.pk}/revoke/"
        for person in (sam, vera):
            client = client_of(person)
            assert address not in text(client.get(f"{TOKENS}{token.pk}/change/"))
            assert client.get(address).status_code == 403
            assert client.post(address).status_code == 403
        assert not revoked(token)

    def test_one_that_does_not_exist_is_not_found(self, guard: User) -> None:
        assert client_of(guard).post(f"{TOKENS}{uuid4()}/revoke/").status_code == 404
        assert client_of(guard).post(f"{TOKENS}nonsense/revoke/", follow=True).status_code == 404

    def test_forged_forms_are_refused(self, guard: User) -> None:
        token = issued(guard, "deploy")
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(guard)
        assert strict.post(f"{TOKENS}{token.pk}/revoke/").status_code == 403
        assert not revoked(token)

    def test_an_expired_one_can_be_revoked_still(self, guard: User) -> None:
        """What has leaked is marked as such."""
        token = issued(guard, "deploy")
        ApiToken.writing.filter(pk=token.pk).update(expires_at=database_now() - timedelta(days=1))
        client_of(guard).post(f"{TOKENS}{token.pk}/revoke/")
        assert revoked(token)
