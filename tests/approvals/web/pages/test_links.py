"""A message's personal link shows one request, and decides it once, as the person it was sent to."""

from __future__ import annotations

import json
import logging
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from approvals import deciding, gate, queries
from approvals.database import clock
from approvals.delivery import personal_links
from approvals.delivery.messages import compose
from approvals.domain.commands import Actor, Escalate, Expire, Reschedule
from approvals.domain.questions import meaning_of
from approvals.exceptions import LinkDead
from approvals.models import AuditEntry, HumanRequest, Notification, Preference
from approvals.queries.notices import Notice, notices
from approvals.trail import verification
from approvals.web.pages import acts
from approvals.writer import notifications, queue
from approvals.writer.chain import REFUSALS_PER_MINUTE
from tests import factories as make
from tests.clients import client_of, text
from tests.marks import both_databases
from tests.submissions import Page, post
from tests.told import look, told

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

URL = "https://sayso.example.com/approvals"
PROGRAM = Actor.program()
AMOUNT = {"type": "object", "properties": {"amount": {"type": "integer"}}}


@pytest.fixture(autouse=True)
def personal(settings: Settings) -> Iterator[None]:
    settings.SAYSO_NOTIFY, settings.SAYSO_URL, settings.SAYSO_LINKS = "on", URL, "personal"
    yield
    clock.move_back()


@pytest.fixture
def ada() -> User:
    return make.user("ada", email="ada@example.org")


@pytest.fixture
def browser() -> Client:
    """A browser in which nobody is logged in; it would be refused without a CSRF token, if that counted."""
    return Client(enforce_csrf_checks=True, HTTP_USER_AGENT="Firefox", REMOTE_ADDR="192.0.2.7")


def address(title: str = "Pay", **terms: Any) -> str:
    """The path of the link in the message about a new request."""
    return path_of(told(title, **terms))


def path_of(notification: Notification) -> str:
    (link,) = re.findall(r"https://\S+/d/\S+", compose(notice_of(notification)).text)
    return str(link.removeprefix(URL.removesuffix("/approvals")).removeprefix("/approvals"))


def notice_of(notification: Notification) -> Notice:
    (notice,) = notices([notification.pk])
    return notice


def trail() -> list[tuple[str, str, str]]:
    entries = AuditEntry.objects.order_by("request__opened_at", "sequence")
    return [(entry.event, entry.actor.username if entry.actor else "", entry.channel) for entry in entries]


def only() -> Any:
    (request,) = queries.pending_requests()
    return request


def code_of(response: Any) -> str:
    (code,) = re.findall(r'data-code="(\w+)"', response.text)
    return str(code)


def with_other_end(path: str) -> str:
    """Another spelling of the same bytes: the last character has two bits too many."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = path.split("/")[2]
    other = letters[letters.index(token[-1]) ^ 1]
    assert urlsafe_b64decode(token + "=") == urlsafe_b64decode(token[:-1] + other + "=")
    return f"/d/{token[:-1]}{other}/"


class TestMessages:
    def test_a_message_that_asks_for_a_decision_has_the_link_and_says_what_it_does(self, ada: User) -> None:
        words = compose(notice_of(told("Pay", assignees=[ada])))
        (token,) = re.findall(rf"{URL}/d/([\w-]+)/", words.text)
        assert len(token) == 43
        assert f'href="{URL}/d/{token}/"' in words.html
        for body in (words.text, words.html):
            assert "Whoever opens this link can decide as ada, without log-in." in body
            assert "/requests/" not in body

    def test_reminders_and_what_was_handed_on_have_one(self, ada: User) -> None:
        request = make.approval(assignees=[make.user()], timeout=1000)
        look()
        deciding.reassign(PROGRAM, request, ["ada"])
        look()
        clock.move(timedelta(seconds=850))
        look()
        found = Notification.objects.filter(destination__user=ada).order_by("event")
        assert [row.event for row in found] == ["reassigned", "reminder"]
        assert all(path_of(row).startswith("/d/") for row in found)

    @pytest.mark.parametrize(
        "terms", [{"four_eyes": True}, {"required": 2}, {"severity": "high"}, {"confidential": True}]
    )
    def test_what_needs_more_care_is_decided_after_log_in(self, ada: User, terms: dict[str, Any]) -> None:
        make.approval("Pay", assignees=[ada, make.user()], requester=make.user(), **terms)
        look()
        row = Notification.objects.get(destination__user=ada)
        words = compose(notice_of(row))
        assert f"{URL}/requests/{row.request_id}/" in words.text
        assert "/d/" not in words.text + words.html
        assert "without log-in" not in words.text + words.html
        found = personal_links.find(personal_links.make_token(notice_of(row)))
        assert found is not None
        with pytest.raises(LinkDead, match="after log-in only"):
            found.check()

    def test_a_question_or_an_outcome_has_the_page(self, ada: User) -> None:
        request = make.approval(requester=ada, assignees=[make.user("bob")])
        deciding.comment(make.actor(User.objects.get(username="bob")), request, "Why?", question=True)
        look()
        row = Notification.objects.get(event="question")
        assert "/d/" not in compose(notice_of(row)).text

    def test_unless_the_installation_allows_it_no_message_has_one(
        self, ada: User, settings: Settings
    ) -> None:
        settings.SAYSO_LINKS = "login"
        assert "/d/" not in compose(notice_of(told("Pay", assignees=[ada]))).text


class TestShowing:
    def test_it_shows_what_is_asked_and_how_to_decide(self, ada: User, browser: Client) -> None:
        path = address(
            "Pay ACME",
            assignees=[ada],
            requester=make.user("olga"),
            arguments={"order": 812, "headers": {"Authorization": "Bearer secret"}},
            details="*Once*.",
        )
        response = browser.get(path)
        shown = text(response)
        for words in ("Pay ACME", "Asked by olga", "812", "Once .", "Rejected automatically", "Approve"):
            assert words in shown
        assert "You decide as ada. This link decides once, until" in shown
        assert "secret" not in response.text
        assert "<script" not in response.text
        assert "csrf" not in response.text

    def test_it_is_kept_from_caches_referrers_and_search(self, ada: User, browser: Client) -> None:
        path = address(assignees=[ada])
        for response in (browser.get(path), browser.head(path), browser.options(path)):
            assert response["Cache-Control"] == "no-store"
            assert response["Referrer-Policy"] == "no-referrer"
            assert response["X-Robots-Tag"] == "noindex"
            assert not response.cookies

    @pytest.mark.parametrize("method", ["get", "head", "options", "put", "delete"])
    @pytest.mark.parametrize("headers", [{}, {"Sec-Purpose": "prefetch"}, {"User-Agent": "Scanner"}])
    def test_fetching_decides_nothing_and_leaves_nothing_on_the_trail(
        self, ada: User, browser: Client, method: str, headers: dict[str, str]
    ) -> None:
        path = address(assignees=[ada])
        before = trail()
        response = getattr(browser, method)(path, headers=headers)
        assert response.status_code == (200 if method in {"get", "head"} else 405)
        assert trail() == before
        row = Notification.objects.get()
        assert (row.used_at, row.fetches) == (None, int(method in {"get", "head"}))
        assert not Session.objects.exists()

    def test_each_fetch_is_counted_by_one_statement_also_of_a_dead_link(
        self, ada: User, browser: Client
    ) -> None:
        path = address(assignees=[ada])
        with CaptureQueriesContext(connection) as captured:
            browser.get(path)
        (writes,) = [one["sql"] for one in captured if not one["sql"].startswith(("SELECT", "PRAGMA"))]
        assert writes.startswith('UPDATE "approvals_notification" SET "fetches"')
        browser.post(path, {"decision": "approve"})
        assert browser.get(path).status_code == 410
        browser.get(with_other_end(path))
        assert Notification.objects.get().fetches == 2

    def test_it_is_shown_where_a_fetch_can_not_be_counted(
        self, ada: User, browser: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = address("Pay", assignees=[ada])
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA query_only = ON")
            try:
                assert "Pay" in text(browser.get(path))
            finally:
                cursor.execute("PRAGMA query_only = OFF")
        assert "fetch of a link not counted" in caplog.text
        assert Notification.objects.get().fetches == 0

    def test_no_log_has_the_token(self, ada: User, browser: Client, caplog: pytest.LogCaptureFixture) -> None:
        path = question(assignees=[ada])
        with caplog.at_level(logging.DEBUG):
            assert browser.post(path, {"answer": ""}).status_code == 422
            assert browser.put(path).status_code == 405
            assert browser.get(f"{path[:-1]}./").status_code == 404
            User.objects.update(is_active=False)
            assert browser.get(path).status_code == 410
        assert path.split("/")[2] not in caplog.text


class TestDeciding:
    @both_databases
    @pytest.mark.parametrize(("verdict", "status"), [("approve", "approved"), ("reject", "rejected")])
    def test_posting_decides_as_that_person_without_a_session(
        self, ada: User, browser: Client, verdict: str, status: str
    ) -> None:
        path = address(assignees=[ada])
        request = only().pk
        shown = text(browser.post(path, {"decision": verdict, "comment": "As agreed."}))
        assert f"{status.title()} by ada" in shown
        outcome = gate.outcome(request)
        assert (outcome.status, outcome.decided_by, outcome.comment) == (status, "ada", "As agreed.")
        assert trail() == [("opened", "", "program"), ("viewed", "ada", "link"), ("decided", "ada", "link")]
        entry = AuditEntry.objects.get(event="decided")
        assert (entry.address, entry.user_agent, entry.allowed_by) == ("192.0.2.7", "Firefox", "assigned")
        assert Notification.objects.get().used_at == entry.recorded_at
        assert verification.verify_request(request) == []
        assert not browser.cookies
        assert not Session.objects.exists()

    def test_a_question_is_answered_and_what_does_not_fit_is_shown_again(
        self, ada: User, browser: Client
    ) -> None:
        path = question(assignees=[ada], choices={"eu": "Europe", "us": "America"})
        request = only().pk
        assert "Europe" in text(browser.get(path))
        refused = browser.post(path, {"comment": "Hm."})
        assert refused.status_code == 422
        assert 'class="errors"' in refused.text
        assert "Hm." in refused.text
        assert gate.outcome(request).status == "pending"
        assert "Answered by ada" in text(browser.post(path, {"answer": "eu"}))
        assert gate.outcome(request).answer == "eu"

    def test_edited_arguments_are_shown_before_they_are_approved(self, ada: User, browser: Client) -> None:
        path = address(assignees=[ada], arguments={"amount": 12}, editable=AMOUNT)
        request = only().pk
        form = Page(browser.get(path).text)
        form.fill("arguments.amount", "10")
        review = post(browser, path, form.press("decision", "approve"))
        assert "You are about to approve these changes" in text(review)
        assert gate.outcome(request).status == "pending"
        post(browser, path, Page(review.text).press("decision", "approve"))
        assert gate.outcome(request).arguments == {"amount": 10}

    @both_databases
    def test_fifty_at_once_decide_once_and_the_others_hear_that_it_was_used(self, ada: User) -> None:
        path = address(assignees=[ada])
        request, together = only().pk, Barrier(50)

        def approve(number: int) -> tuple[int, str]:
            try:
                together.wait()
                response = Client().post(path, {"decision": "approve", "comment": f"By {number}."})
                return response.status_code, "" if response.status_code == 200 else code_of(response)
            finally:
                connection.close()

        with ThreadPoolExecutor(50) as threads:
            answers = sorted(threads.map(approve, range(50)))
        assert answers == [(200, ""), *[(410, "link_used")] * 49]
        assert [entry[0] for entry in trail() if entry[0] != "refused"] == ["opened", "viewed", "decided"]
        assert verification.verify_request(request) == []

    def test_once_used_it_says_so_and_what_came_of_it(self, ada: User, browser: Client) -> None:
        path = address(assignees=[ada])
        browser.post(path, {"decision": "approve"})
        before = trail()
        for response in (browser.get(path), browser.post(path, {"decision": "approve"})):
            assert code_of(response) == "link_used"
            assert "approved by ada" in text(response, 410)
        assert trail() == before

    def test_the_other_message_about_it_is_dead_then(self, ada: User, browser: Client) -> None:
        path = address(assignees=[ada], timeout=1000)
        clock.move(timedelta(seconds=850))
        look()
        other = path_of(Notification.objects.get(event="reminder"))
        browser.post(path, {"decision": "approve"})
        assert code_of(browser.get(other)) == "link_dead"
        assert "closed: approved by ada" in text(browser.get(other), 410)

    def test_who_is_logged_in_as_somebody_else_is_told_for_whom_it_is(self, ada: User) -> None:
        """Looking leaves nothing on the trail; trying to decide does."""
        path = address(assignees=[ada])
        client = client_of(make.reviewer("bob"), REMOTE_ADDR="192.0.2.9")
        for method, recorded in ((client.get, "Nothing was recorded"), (client.post, "that you tried")):
            shown = text(method(path, {"decision": "approve"}), 403)
            for words in ("This link is for ada", "logged in as bob", recorded):
                assert words in shown
            assert "Pay" not in shown
            if method == client.get:
                assert trail() == [("opened", "", "program")]
        assert only().status == "pending"
        assert trail() == [("opened", "", "program"), ("refused", "bob", "link")]
        entry = AuditEntry.objects.get(event="refused")
        assert (entry.address, entry.allowed_by) == ("192.0.2.9", "")
        said = json.loads(entry.shown.content)
        assert said == {"actor": "bob", "code": "not_permitted", "link_of": ada.pk}
        assert verification.verify_request(only().pk) == []
        page = client_of(ada).get(f"/requests/{only().pk}/")
        assert "bob tried to decide by somebody else&#x27;s link: not permitted" in page.text

    @both_databases
    def test_misuse_fills_no_trail(self, ada: User) -> None:
        path = address(assignees=[ada])
        bob, eve = client_of(make.reviewer("bob")), client_of(make.user("eve"))
        for client in (bob, eve):
            for _ in range(2 * REFUSALS_PER_MINUTE):
                assert client.post(path, {"decision": "approve"}).status_code == 403
        refused = Counter(actor for event, actor, _ in trail() if event == "refused")
        assert refused == {"bob": REFUSALS_PER_MINUTE, "eve": REFUSALS_PER_MINUTE}

    def test_misuse_of_a_dead_link_is_on_the_trail_too(self, ada: User, browser: Client) -> None:
        path = address(assignees=[ada])
        browser.post(path, {"decision": "approve"})
        assert client_of(make.user("bob")).post(path, {"decision": "reject"}).status_code == 403
        assert trail()[-1] == ("refused", "bob", "link")

    def test_who_is_logged_in_as_that_person_decides_by_the_link(self, ada: User) -> None:
        path = address(assignees=[ada])
        client_of(ada).post(path, {"decision": "approve"})
        assert trail()[-1] == ("decided", "ada", "link")

    def test_it_counts_against_the_limit_of_that_person(self, ada: User, settings: Settings) -> None:
        settings.SAYSO_RATE_LIMIT = 0.1
        path = address(assignees=[ada])
        answers = [Client().get(path) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 429, 429]
        assert answers[-1]["Cache-Control"] == "no-store"


def change_password(ada: User) -> None:
    ada.set_password("another long one")
    ada.save()


def expire(ada: User) -> None:
    clock.move(timedelta(seconds=301))


def time_out(ada: User) -> None:
    clock.move(timedelta(seconds=301))
    queue.write(Expire(request_id=only().pk))


def deactivate(ada: User) -> None:
    User.objects.filter(pk=ada.pk).update(is_active=False)


def hand_on(*names: str) -> Callable[[User], object]:
    return lambda ada: deciding.reassign(PROGRAM, only().pk, names)


def by_another(ada: User) -> None:
    deciding.decide(make.actor(User.objects.get(username="bob")), only().pk, "reject")


def add_group(ada: User) -> None:
    make.group("finance")
    deciding.reassign(PROGRAM, only().pk, ["ada", "bob"], ["finance"])


def move_deadline(ada: User) -> None:
    queue.write(Reschedule(request_id=only().pk, actor=PROGRAM, timeout=9000))


def escalate(ada: User) -> None:
    clock.move(timedelta(seconds=40))
    queue.write(Escalate(request_id=only().pk, step=0))


DEADLY: dict[str, tuple[Callable[[User], object], str]] = {
    "decided by another": (by_another, "closed: rejected by bob"),
    "withdrawn": (lambda ada: deciding.withdraw(PROGRAM, only().pk), "closed: withdrawn"),
    "timed out": (time_out, "closed: timed out"),
    "expired": (expire, "Its time is over"),
    "handed to others": (hand_on("bob"), "You may not decide this request any more"),
    "handed to them, too": (hand_on("ada", "bob", "eve"), "Who decides this request has changed"),
    "handed to a group, too": (add_group, "Who decides this request has changed"),
    "escalated": (escalate, "Who decides this request has changed"),
    "password changed": (change_password, "Your password"),
    "deactivated": (deactivate, "You may not decide this request any more"),
    "deadline moved": (move_deadline, "Your password, the request or a setting has changed"),
}


class TestDeath:
    def test_one_that_an_earlier_release_sent_is_still_alive(
        self, ada: User, browser: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What requests could not say then is no part of it, unless this one says it."""
        terms = {"title", "severity", "required", "four_eyes", "on_timeout", "arguments", "editable"}
        terms |= {"choices", "multiple", "schema", "default", "kind", "assignees"}

        def earlier(asked: object, assignees: Any) -> dict[str, Any]:
            meaning = meaning_of(asked, assignees)
            return {name: value for name, value in meaning.items() if name in terms}

        sent = []
        for title, more in (("Pay", {}), ("Answer", {"decisions": ["approve", "reject", "respond"]})):
            notice = notice_of(told(title, assignees=[ada], **more))
            with monkeypatch.context() as then:
                then.setattr(personal_links, "meaning_of", earlier)
                sent.append(f"/d/{personal_links.make_token(notice)}/")
        assert [browser.get(path).status_code for path in sent] == [200, 410]

    @both_databases
    @pytest.mark.parametrize("why", DEADLY)
    def test_between_page_and_decision_it_dies_and_says_why(
        self, ada: User, browser: Client, why: str
    ) -> None:
        bob, _ = make.user("bob"), make.user("eve")
        make.approval("Pay", assignees=[ada, bob], escalation=[{"after": 0.1, "users": ["eve"]}])
        look()
        path = path_of(Notification.objects.get(destination__user=ada))
        assert browser.get(path).status_code == 200
        kill, reason = DEADLY[why]
        kill(ada)
        before = trail()
        for response in (browser.post(path, {"decision": "approve"}), browser.get(path)):
            assert reason in text(response, 410)
            assert code_of(response) == "link_dead"
            assert response["Cache-Control"] == "no-store"
        assert trail() == before
        assert Notification.objects.get(destination__user=ada).used_at is None

    @pytest.mark.parametrize(
        "other",
        [
            {"title": "Pay twice"},
            {"details": "Or not."},
            {"arguments": {"order": 813}},
            {"on_timeout": "approve"},
            {"context": "Or not."},
            {"links": [{"title": "Invoice", "url": "https://example.org/other"}]},
            {"metadata": {"order": 813}},
        ],
    )
    def test_it_decides_only_what_was_shown(self, ada: User, browser: Client, other: dict[str, Any]) -> None:
        """Also where somebody has changed the row past the writer."""
        path = address(assignees=[ada], arguments={"order": 812})
        HumanRequest.writing.filter(pk=only().pk).update(**other)
        assert "the request or a setting has changed" in text(browser.get(path), 410)
        assert "the request or a setting" in text(browser.post(path, {"decision": "approve"}), 410)
        assert only().status == "pending"

    def test_handed_on_and_back_again_it_stays_dead(self, ada: User, browser: Client) -> None:
        path, bob = address("Pay", assignees=[ada]), make.user("bob")
        for person in (bob, ada):
            deciding.reassign(PROGRAM, only().pk, [person.username])
        assert "has changed since" in text(browser.get(path), 410)

    def test_what_waited_for_the_end_of_quiet_days_comes_with_a_link_that_lives(
        self, ada: User, browser: Client
    ) -> None:
        """It lives from when the message was due, not from when there was something to tell."""
        today = clock.database_now().weekday()
        Preference.objects.create(pk=ada.pk, quiet_days=[(today + days) % 7 for days in range(3)])
        row = told("Pay", assignees=[ada], timeout=None)
        assert row.due_at is not None
        clock.move(row.due_at - row.created_at + timedelta(hours=1))
        assert browser.get(path_of(row)).status_code == 200

    def test_it_lives_for_a_day_at_most(self, ada: User, browser: Client, settings: Settings) -> None:
        path = address(assignees=[ada], timeout=None)
        clock.move(timedelta(hours=23.9))
        assert browser.get(path).status_code == 200
        clock.move(timedelta(hours=24.1))
        assert "Its time is over" in text(browser.get(path), 410)

    @both_databases
    def test_a_message_that_is_sent_again_has_the_link_that_ends_when_the_first_would(
        self, ada: User, browser: Client
    ) -> None:
        row = told("Pay", assignees=[ada], timeout=None)
        path = path_of(row)
        for _ in range(2):
            clock.move(timedelta(hours=10))
            notifications.send_again(row.pk)
            row.refresh_from_db()
            assert path_of(row) == path
            assert browser.get(path).status_code == 200
        clock.move(timedelta(hours=5))
        assert "Its time is over" in text(browser.get(path), 410)
        notifications.send_again(row.pk)
        assert "/d/" not in compose(notice_of(row)).text

    def test_how_long_it_lives_is_a_setting(self, ada: User, browser: Client, settings: Settings) -> None:
        settings.SAYSO_LINK_HOURS = 1.0
        path = address(assignees=[ada], timeout=None)
        clock.move(timedelta(hours=1.1))
        assert "Its time is over" in text(browser.get(path), 410)
        settings.SAYSO_LINK_HOURS = 48.0
        assert browser.get(path).status_code == 410, "a longer time revives none"

    def test_switching_links_off_kills_all(self, ada: User, browser: Client, settings: Settings) -> None:
        path = address(assignees=[ada])
        settings.SAYSO_LINKS = "login"
        assert "switched off" in text(browser.post(path, {"decision": "approve"}), 410)
        assert only().status == "pending"

    def test_what_came_of_it_is_not_told_to_whom_it_would_not_serve(self, ada: User, browser: Client) -> None:
        """Whoever has an old mailbox learns nothing by it after the password was changed."""
        path = address(assignees=[ada])
        change_password(ada)
        deciding.decide(make.actor(ada), only().pk, "reject")
        shown = text(browser.get(path), 410)
        assert "The request is closed." in shown
        assert "rejected" not in shown

    def test_who_was_first_while_it_was_sent_is_told(
        self, ada: User, browser: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The writer refuses what the link still allowed, and has the refusal on the trail."""
        path = address(assignees=[ada])
        request, submit = only().pk, acts.submit

        def after_another(*sent: Any) -> Any:
            deciding.decide(PROGRAM, request, "reject")
            return submit(*sent)

        monkeypatch.setattr(acts, "submit", after_another)
        shown = text(browser.post(path, {"decision": "approve"}), 410)
        assert "The request is closed: rejected." in shown
        assert trail()[-1] == ("refused", "ada", "link")

    def test_who_lost_the_right_while_it_was_sent_is_told(
        self, ada: User, browser: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = address(assignees=[ada])
        request, submit = only().pk, acts.submit
        make.user("bob")

        def after_handing_on(*sent: Any) -> Any:
            deciding.reassign(PROGRAM, request, ["bob"])
            return submit(*sent)

        monkeypatch.setattr(acts, "submit", after_handing_on)
        assert "may not decide" in text(browser.post(path, {"decision": "approve"}), 410)
        assert only().status == "pending"


class TestTokens:
    def test_a_former_secret_key_counts_until_it_is_taken_away(
        self, ada: User, browser: Client, settings: Settings
    ) -> None:
        path = address(assignees=[ada])
        settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "x" * 60
        assert browser.get(path).status_code == 200
        settings.SECRET_KEY_FALLBACKS = []
        assert browser.get(path).status_code == 404

    def test_it_has_one_spelling(self, ada: User, browser: Client) -> None:
        path = address(assignees=[ada])
        for other in (with_other_end(path), path[:-1] + "=/", path[:-1] + "%0A/", path[:-2] + "/"):
            assert browser.get(other).status_code == 404

    def test_one_of_another_message_or_person_is_none(self, ada: User) -> None:
        """No half of a token serves another one."""
        request = make.approval(assignees=[ada, make.user("bob")])
        look()
        rows = Notification.objects.filter(request_id=request)
        one, other = (urlsafe_b64decode(path_of(row).split("/")[2] + "=") for row in rows)
        assert find(one[:16] + other[16:]) is None
        mixed = find(one[:22] + other[22:])
        assert mixed is not None
        assert not mixed.intact

    def test_of_a_message_that_is_gone_nothing_is_said(self, ada: User, browser: Client) -> None:
        path = address(assignees=[ada])
        Notification.writing.all().delete()
        assert browser.get(path).status_code == 404

    @given(flips=st.sets(st.integers(0, 255), min_size=1, max_size=3))
    @hypothesis_settings(
        deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    def test_no_changed_token_is_alive(self, flips: set[int]) -> None:
        """With other bits anywhere it is no link of ours, or, in its last part, not intact."""
        raw = self._token()
        number = int.from_bytes(raw, "big")
        for bit in flips:
            number ^= 1 << (255 - bit)
        found = find(number.to_bytes(32, "big"))
        if min(flips) < 22 * 8:
            assert found is None
        else:
            assert found is not None
            assert not found.intact

    @given(token=st.text(max_size=60))
    @hypothesis_settings(
        deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    def test_no_other_text_is_a_token(self, token: str) -> None:
        assert personal_links.find(token) is None

    def _token(self) -> bytes:
        row = Notification.objects.first() or told("Pay", assignees=[make.user("ada")])
        return urlsafe_b64decode(personal_links.make_token(notice_of(row)) + "=")


def find(raw: bytes) -> personal_links.PersonalLink | None:
    return personal_links.find(urlsafe_b64encode(raw).decode().rstrip("="))


def question(**terms: Any) -> str:
    """The path of the link in the message about a new question."""
    make.clarification(**terms)
    look()
    return path_of(Notification.objects.get())
