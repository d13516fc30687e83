"""API tokens: shown once, kept as a hash, and worth something only while everything about them holds."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from approvals.database.clock import database_now
from approvals.exceptions import InvalidRequest
from approvals.models import ApiToken
from approvals.process import hints
from approvals.web.edge import tokens
from approvals.web.edge.tokens import Bearer, Scope, State
from tests import factories as make

pytestmark = pytest.mark.django_db

YEAR = 365 * 86_400


@pytest.fixture
def ann() -> User:
    return make.user("ann")


@pytest.fixture
def hinted() -> Iterator[list[tuple[str, list[UUID]]]]:
    """What was hinted, as the sink of this process gets it."""
    heard: list[tuple[str, list[UUID]]] = []

    def sink(topic: str, ids: Sequence[UUID]) -> None:
        heard.append((topic, list(ids)))

    hints.attach(sink)
    yield heard
    hints.detach(sink)


def issued(
    person: User, *scopes: str, name: str = "deploy", lifetime: float | None = None
) -> tuple[UUID, str]:
    token, secret = tokens.issue(person.pk, name, scopes or ("ask", "read"), lifetime=lifetime)
    return token.pk, secret


def aged(token_id: UUID, **ago: timedelta) -> None:
    """As if these moments had been so long ago on the database's clock."""
    now = database_now()
    ApiToken.writing.filter(pk=token_id).update(**{field: now - by for field, by in ago.items()})


def row(token_id: UUID) -> ApiToken:
    found: ApiToken = ApiToken.objects.get(pk=token_id)
    return found


def state_of(token_id: UUID) -> str:
    found = tokens.with_state(ApiToken.objects.filter(pk=token_id), database_now()).get()
    return str(found.state)


class TestIssuing:
    def test_who_shows_the_secret_acts_as_the_user_within_the_scopes(self, ann: User) -> None:
        token_id, secret = issued(ann, "read", "decide")
        scopes = frozenset({Scope.READ, Scope.DECIDE})
        assert tokens.bearer(secret) == Bearer(token_id=token_id, user_id=ann.pk, scopes=scopes)

    def test_only_a_hash_and_the_beginning_of_the_secret_are_kept(self, ann: User) -> None:
        """What the row holds lets nobody in; 256 bits less the few that are shown stay unknown."""
        token_id, secret = issued(ann)
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM approvals_apitoken")
            stored = " ".join(str(value) for value in cursor.fetchall())
        assert secret not in stored
        assert secret[13:] not in stored
        assert row(token_id).secret_hash == hashlib.sha256(secret.encode()).hexdigest()
        assert secret.startswith(row(token_id).prefix)
        assert (secret[:6], len(row(token_id).prefix), len(secret)) == ("sayso_", 12, 49)

    def test_no_log_ever_has_the_secret(self, ann: User, caplog: pytest.LogCaptureFixture) -> None:
        """Not even where the database's own statements are logged."""
        with caplog.at_level(logging.DEBUG, "django.db.backends"), CaptureQueriesContext(connection):
            token_id, secret = issued(ann)
            tokens.bearer(secret)
            tokens.revoke(token_id, None)
        assert "approvals_apitoken" in caplog.text
        assert secret not in caplog.text

    def test_secrets_differ_names_need_not(self, ann: User) -> None:
        (first, secret), (second, other) = issued(ann, name="deploy"), issued(ann, name="deploy")
        assert secret != other
        assert first != second

    def test_a_lifetime_ends_on_the_databases_clock(self, ann: User) -> None:
        token_id, _ = issued(ann, lifetime=3600)
        token = row(token_id)
        assert token.expires_at is not None
        assert token.expires_at - token.created_at == timedelta(hours=1)
        assert abs(token.created_at - database_now()) < timedelta(minutes=1)

    @pytest.mark.one_stack
    @pytest.mark.parametrize(
        ("field", "wrong"),
        [
            ("name", {"name": ""}),
            ("name", {"name": "  "}),
            ("name", {"name": "two\nlines"}),
            ("name", {"name": "nul\0"}),
            ("name", {"name": "x" * 101}),
            ("scopes", {"scopes": []}),
            ("scopes", {"scopes": ["ask", "rule"]}),
            ("scopes", {"scopes": "ask"}),
            ("lifetime", {"lifetime": 0}),
            ("lifetime", {"lifetime": -1}),
            ("lifetime", {"lifetime": float("nan")}),
            ("lifetime", {"lifetime": float("inf")}),
            ("lifetime", {"lifetime": 101 * YEAR}),
            ("user", {"user_id": 0}),
        ],
    )
    def test_what_is_wrong_is_named_and_nothing_issued(
        self, ann: User, field: str, wrong: dict[str, object]
    ) -> None:
        given = {"user_id": ann.pk, "name": "deploy", "scopes": ["ask"], "lifetime": None} | wrong
        with pytest.raises(InvalidRequest) as caught:
            tokens.issue(**given)  # type: ignore[arg-type]  # what is wrong may be of the wrong type
        assert caught.value.field == field
        assert not ApiToken.objects.exists()

    def test_who_is_not_active_gets_none(self) -> None:
        with pytest.raises(InvalidRequest):
            issued(make.user(is_active=False))


class TestBearers:
    @pytest.mark.parametrize("secret", ["", "sayso_", "nonsense", "s\0", "\ud800", "x" * 100_000, "é"])
    def test_what_is_no_token_is_nobodys(self, ann: User, secret: str) -> None:
        issued(ann)
        assert tokens.bearer(secret) is None

    def test_the_hash_is_no_secret(self, ann: User) -> None:
        """Who reads the table gets in nowhere with what is there."""
        token_id, _ = issued(ann)
        assert tokens.bearer(row(token_id).secret_hash) is None
        assert tokens.bearer(row(token_id).prefix) is None

    def test_one_is_let_in_until_the_moment_of_expiry_and_not_from_it_on(self, ann: User) -> None:
        token_id, secret = issued(ann, lifetime=YEAR)
        aged(token_id, expires_at=-timedelta(seconds=30))
        assert tokens.bearer(secret) is not None
        aged(token_id, expires_at=timedelta(0))
        assert tokens.bearer(secret) is None
        assert tokens.owners([token_id]) == {}

    def test_a_revoked_one_is_worth_nothing(self, ann: User) -> None:
        token_id, secret = issued(ann)
        tokens.revoke(token_id, None)
        assert tokens.bearer(secret) is None
        assert tokens.owners([token_id]) == {}

    def test_one_holds_only_while_its_user_is_active(self, ann: User) -> None:
        token_id, secret = issued(ann)
        User.objects.filter(pk=ann.pk).update(is_active=False)
        assert tokens.bearer(secret) is None
        assert tokens.owners([token_id]) == {}
        User.objects.filter(pk=ann.pk).update(is_active=True)
        assert tokens.bearer(secret) is not None

    def test_owners_are_those_of_tokens_that_hold(self, ann: User) -> None:
        """A constant number of queries."""
        holding, revoked = issued(ann)[0], issued(ann)[0]
        other, _ = issued(make.user())
        tokens.revoke(revoked, None)
        tokens.owners([holding])  # its statement is prepared once a connection
        with CaptureQueriesContext(connection) as captured:
            owners = tokens.owners([holding, revoked, other, uuid4()])
        assert owners == {holding: ann.pk, other: row(other).user_id}
        assert len(captured) == 1
        assert tokens.owners([]) == {}

    def test_states_in_the_order_in_which_they_matter(self, ann: User) -> None:
        """Revoked is for ever, expired too; suspended may end."""
        token_id, _ = issued(ann, lifetime=YEAR)
        assert state_of(token_id) == State.ACTIVE
        User.objects.filter(pk=ann.pk).update(is_active=False)
        assert state_of(token_id) == State.SUSPENDED
        aged(token_id, expires_at=timedelta(seconds=1))
        assert state_of(token_id) == State.EXPIRED
        tokens.revoke(token_id, None)
        assert state_of(token_id) == State.REVOKED


class TestLastUse:
    def test_the_first_use_is_noted(self, ann: User) -> None:
        token_id, secret = issued(ann)
        assert row(token_id).last_used_at is None
        tokens.bearer(secret)
        used = row(token_id).last_used_at
        assert used is not None
        assert abs(used - database_now()) < timedelta(minutes=1)

    def test_uses_within_a_minute_write_nothing(self, ann: User) -> None:
        token_id, secret = issued(ann)
        aged(token_id, last_used_at=timedelta(seconds=30))
        with CaptureQueriesContext(connection) as captured:
            tokens.bearer(secret)
        assert not [query for query in captured if "UPDATE" in query["sql"]]

    def test_a_use_after_a_minute_is_noted_again(self, ann: User) -> None:
        token_id, secret = issued(ann)
        aged(token_id, last_used_at=timedelta(seconds=61))
        before = row(token_id).last_used_at
        tokens.bearer(secret)
        after = row(token_id).last_used_at
        assert before is not None
        assert after is not None
        assert after > before

    def test_a_refused_use_is_none(self, ann: User) -> None:
        token_id, secret = issued(ann)
        tokens.revoke(token_id, None)
        tokens.bearer(secret)
        assert row(token_id).last_used_at is None

    def test_many_at_a_time_are_all_let_in(self, ann: User) -> None:
        _, secret = issued(ann)
        at_once = threading.Barrier(4)

        def show() -> Bearer | None:
            at_once.wait()
            try:
                return tokens.bearer(secret)
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as threads:
            shown = [threads.submit(show) for _ in range(4)]
        assert all(each.result() is not None for each in shown)


class TestRevoking:
    def test_who_and_when_is_on_record_and_hinted(
        self, ann: User, hinted: list[tuple[str, list[UUID]]]
    ) -> None:
        token_id, _ = issued(ann)
        assert tokens.revoke(token_id, ann.pk) is True
        token = row(token_id)
        assert token.revoked_by == ann
        assert token.revoked_at is not None
        assert hinted == [("tokens", [token_id])]

    def test_a_second_time_changes_and_hints_nothing(
        self, ann: User, hinted: list[tuple[str, list[UUID]]]
    ) -> None:
        """Who was first stays on record."""
        token_id, _ = issued(ann)
        tokens.revoke(token_id, ann.pk)
        first = row(token_id).revoked_at
        hinted.clear()
        assert tokens.revoke(token_id, make.user().pk) is False
        assert (row(token_id).revoked_by, row(token_id).revoked_at) == (ann, first)
        assert hinted == []

    def test_one_that_does_not_exist_is_none(self, hinted: list[tuple[str, list[UUID]]]) -> None:
        assert tokens.revoke(uuid4(), None) is False
        assert hinted == []

    def test_inside_a_transaction_the_hint_waits_for_the_commit(
        self, ann: User, hinted: list[tuple[str, list[UUID]]]
    ) -> None:
        """Who looks again must find it revoked."""
        token_id, _ = issued(ann)
        with transaction.atomic():
            tokens.revoke(token_id, None)
            assert hinted == []
        assert hinted == [("tokens", [token_id])]

    def test_what_is_rolled_back_is_not_hinted(self, ann: User, hinted: list[tuple[str, list[UUID]]]) -> None:
        token_id, secret = issued(ann)
        with transaction.atomic():
            tokens.revoke(token_id, None)
            transaction.set_rollback(True)
        assert hinted == []
        assert tokens.bearer(secret) is not None

    def test_of_two_at_a_time_one_revokes(self, ann: User) -> None:
        token_id, _ = issued(ann)
        at_once = threading.Barrier(2)

        def end() -> bool:
            at_once.wait()
            try:
                return tokens.revoke(token_id, ann.pk)
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as threads:
            ended = [threads.submit(end) for _ in range(2)]
        assert sorted(each.result() for each in ended) == [False, True]

    def test_what_was_revoked_since_a_moment_is_found(self, ann: User) -> None:
        """For those who missed the hint."""
        early, late, never = issued(ann)[0], issued(ann)[0], issued(ann)[0]
        for token_id in (early, late):
            tokens.revoke(token_id, None)
        aged(early, revoked_at=timedelta(minutes=10))
        found = tokens.revoked_since(database_now() - timedelta(minutes=5))
        assert [*found] == [late]
        assert never not in found
