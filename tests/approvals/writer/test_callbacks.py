"""The rows of callbacks: written with the outcome, claimed by one at a time, every attempt on record."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from pytest_django import DjangoAssertNumQueries, Settings

from approvals import deciding
from approvals.database.clock import database_now
from approvals.domain.commands import Actor
from approvals.exceptions import TooLate
from approvals.models import Callback, CallbackAttempt
from approvals.process import hints
from approvals.writer import callbacks
from approvals.writer.callbacks import AT_ONE_RECEIVER, LONGEST_TRY, Due
from approvals.writer.outboxes import BACKOFF, CLAIM, JITTER, LONGEST_RETRY_AFTER, Answer, Attempt
from tests import factories as make
from tests.approvals.delivery.webhooks.outcomes import again, attempts, callback_of, closed, make_due

pytestmark = pytest.mark.django_db

URL = "https://hooks.example.org/sayso"


@pytest.fixture(autouse=True)
def allowed(settings: Settings) -> None:
    settings.SAYSO_CALLBACK_HOSTS = ["*.example.org"]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[UUID]]]:
    """The hints that were sent."""
    sent: list[tuple[str, list[UUID]]] = []
    monkeypatch.setattr(hints._sink, "value", lambda topic, ids: sent.append((topic, list(ids))))
    return sent


def claimed() -> Due:
    """The only callback, claimed."""
    (due,) = callbacks.outbox.claim(10)
    return due


def failed(due: Due, **fields: object) -> Attempt[Due]:
    answer = Answer(**{"status_code": 500, "error": "status 500", **fields})  # type: ignore[arg-type]  # overrides
    return Attempt(due=due, seconds=0.1, answer=answer)


def delivered(due: Due) -> Attempt[Due]:
    return Attempt(due=due, seconds=0.1, answer=Answer(status_code=204))


class TestBeingWritten:
    def test_each_end_of_a_request_writes_one(self) -> None:
        """Decided, answered, withdrawn, timed out: whoever asked is told."""
        person = make.reviewer()
        approval, clarification = make.approval(callback_url=URL), make.clarification(callback_url=URL)
        withdrawn, late = make.approval(callback_url=URL), make.approval(callback_url=URL, timeout=0.001)
        deciding.decide(make.actor(person), approval, "reject")
        deciding.answer(make.actor(person), clarification, "4711")
        deciding.withdraw(Actor.program(), withdrawn)
        with pytest.raises(TooLate):
            deciding.decide(make.actor(person), late, "approve")
        assert {due.outcome.status for due in callbacks.outbox.claim(10)} == {
            "rejected",
            "answered",
            "withdrawn",
            "timed_out",
        }

    def test_where_no_url_was_given_none_is_written(self) -> None:
        deciding.withdraw(Actor.program(), make.approval())
        assert not Callback.objects.exists()

    def test_a_pending_request_has_none(self) -> None:
        make.approval(callback_url=URL)
        assert callbacks.outbox.claim(10) == []

    def test_a_vote_that_does_not_close_writes_none(self) -> None:
        first, second = make.reviewer(), make.reviewer()
        request_id = make.approval(callback_url=URL, required=2)
        deciding.decide(make.actor(first), request_id, "approve")
        assert not Callback.objects.exists()
        deciding.decide(make.actor(second), request_id, "approve")
        assert callback_of(request_id).status == "waiting"

    def test_it_is_hinted(self, told: list[tuple[str, list[UUID]]]) -> None:
        callback = closed(URL)
        assert (callbacks.TOPIC, [callback.pk]) in told


class TestClaiming:
    def test_says_what_to_post_where(self) -> None:
        person = make.user()
        callback = closed(URL, requester=person, key="refund-812")
        due = claimed()
        assert (due.id, due.url, due.requester_id, due.key) == (
            callback.pk,
            URL,
            person.pk,
            "refund-812",
        )
        assert due.outcome.status == "withdrawn"
        assert due.claimed_until - due.claimed_at == CLAIM

    def test_gives_each_once(self) -> None:
        closed(URL)
        claimed()
        assert callbacks.outbox.claim(10) == []

    def test_the_longest_due_comes_first(self) -> None:
        first, second, third = (closed(f"https://{name}.example.org") for name in "abc")
        make_due(first.pk)
        assert [due.id for due in callbacks.outbox.claim(1)] == [second.pk]
        assert [due.id for due in callbacks.outbox.claim(1)] == [third.pk]
        assert [due.id for due in callbacks.outbox.claim(1)] == [first.pk]

    def test_a_claim_runs_out(self) -> None:
        """Its process was killed, perhaps: another takes over, under the same id."""
        closed(URL)
        before = claimed()
        make_due(before.id)
        after = claimed()
        assert after.id == before.id
        assert after.claimed_until > before.claimed_until

    def test_many_at_once_share_what_is_due(self) -> None:
        """Eight claimants, each callback to exactly one of them."""
        ids = {closed(f"https://host{number}.example.org/").pk for number in range(24)}
        together = Barrier(8)

        def some() -> list[UUID]:
            found: list[UUID] = []
            together.wait()
            try:
                while something_is_due():
                    found += [due.id for due in callbacks.outbox.claim(2)]
            finally:
                connection.close()
            return found

        def something_is_due() -> bool:
            earliest, now = callbacks.outbox.next_due()
            return earliest is not None and earliest <= now

        with ThreadPoolExecutor(8) as threads:
            found = [pk for each in [threads.submit(some) for _ in range(8)] for pk in each.result()]
        assert sorted(found) == sorted(ids)

    def test_one_receiver_gets_a_few_at_a_time(self) -> None:
        """A receiver that hangs leaves room for the others."""
        for _ in range(AT_ONE_RECEIVER + 2):
            closed(URL)
        other = closed("https://hooks.example.org:8443/sayso")
        due = callbacks.outbox.claim(16)
        assert len(due) == AT_ONE_RECEIVER + 1
        assert other.pk in {one.id for one in due}
        busy = {"https://hooks.example.org": AT_ONE_RECEIVER, "https://hooks.example.org:8443": 1}
        assert callbacks.outbox.claim(16, busy) == []
        earliest, now = callbacks.outbox.next_due(busy)
        assert earliest
        assert earliest > now
        assert len(callbacks.outbox.claim(16, {"https://hooks.example.org": AT_ONE_RECEIVER - 1})) == 1

    @pytest.mark.one_stack
    def test_takes_a_constant_number_of_queries(
        self, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        for number in range(16):
            closed(f"https://host{number}.example.org/")
        with django_assert_max_num_queries(10):
            due = callbacks.outbox.claim(16)
        assert len(due) == 16
        with django_assert_max_num_queries(8):
            callbacks.outbox.record([failed(one) for one in due])
        with django_assert_max_num_queries(2):
            assert callbacks.outbox.claim(16) == []


class TestRecording:
    def test_delivered_ends_it(self) -> None:
        callback = closed(URL)
        callbacks.outbox.record([delivered(claimed())])
        row, (attempt,) = again(callback), attempts(callback)
        assert (row.status, row.attempts, row.due_at, row.claimed_until) == ("delivered", 1, None, None)
        assert (attempt.number, attempt.status_code, attempt.error) == (1, 204, "")

    def test_no_attempts_change_nothing(self, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        callback = closed(URL)
        due = claimed()
        with django_assert_num_queries(0):
            callbacks.outbox.record([])
        assert again(callback).claimed_until == due.claimed_until
        assert attempts(callback) == []

    def test_a_failure_is_tried_again_after_longer_and_longer_pauses(self) -> None:
        callback = closed(URL)
        pauses = []
        for _ in range(len(BACKOFF) + 2):
            due = claimed()
            # The day begins and everything so far has just happened: that the last ones fit in, too.
            Callback.writing.update(give_up_at=database_now() + LONGEST_TRY - timedelta(seconds=1))
            CallbackAttempt.writing.update(ended_at=database_now())
            callbacks.outbox.record([failed(due)])
            row = again(callback)
            assert row.due_at
            pauses.append((row.due_at - attempts(callback)[-1].ended_at).total_seconds())
            make_due(callback.pk)
        expected = [*BACKOFF, BACKOFF[-1], BACKOFF[-1]]
        for pause, usual in zip(pauses, expected, strict=True):
            assert usual * (1 - JITTER) <= pause <= usual * (1 + JITTER)

    def test_after_a_day_it_is_given_up(self) -> None:
        callback = closed(URL)
        Callback.writing.update(give_up_at=callback.created_at + timedelta(seconds=1))
        callbacks.outbox.record([failed(claimed())])
        assert (again(callback).status, again(callback).due_at) == ("given_up", None)
        assert callbacks.outbox.claim(10) == []

    def test_what_was_due_while_nobody_was_there_gets_one_attempt_at_least(self) -> None:
        """The installation was off for a week."""
        callback = closed(URL)
        week = timedelta(days=7)
        Callback.writing.update(give_up_at=callback.give_up_at - week, due_at=callback.created_at - week)
        callbacks.outbox.record([delivered(claimed())])
        assert again(callback).status == "delivered"

    def test_a_receiver_that_wants_no_more_gets_no_more(self) -> None:
        callback = closed(URL)
        callbacks.outbox.record([failed(claimed(), status_code=410, final=True)])
        assert again(callback).status == "given_up"

    @pytest.mark.parametrize(
        ("asked", "least"), [(None, 4.5), (1.0, 4.5), (90.0, 90.0), (1e9, LONGEST_RETRY_AFTER)]
    )
    @pytest.mark.one_stack
    def test_a_receiver_may_ask_for_a_longer_pause(self, asked: float | None, least: float) -> None:
        """Within reason, and never for a shorter one."""
        callback = closed(URL)
        callbacks.outbox.record([failed(claimed(), retry_after=asked)])
        row = again(callback)
        assert row.due_at
        assert 0 <= (row.due_at - attempts(callback)[0].ended_at).total_seconds() - least <= 1

    def test_a_late_answer_is_on_record_and_changes_nothing_else(self) -> None:
        """Its claim ran out, and another process holds the callback or has delivered it."""
        callback = closed(URL)
        late = claimed()
        make_due(callback.pk)
        current = claimed()
        callbacks.outbox.record([failed(late, final=True)])
        row = again(callback)
        assert (row.status, row.claimed_until) == ("waiting", current.claimed_until)
        callbacks.outbox.record([delivered(current)])
        callbacks.outbox.record([failed(late)])
        assert again(callback).status == "delivered"
        assert [attempt.number for attempt in attempts(callback)] == [1, 2, 3]

    def test_a_late_answer_counts_while_nobody_else_has_begun(self) -> None:
        """Frozen for longer than its claim, then delivered: there is nothing to do again."""
        callback = closed(URL)
        late = claimed()
        make_due(callback.pk)
        callbacks.outbox.record([delivered(late)])
        assert again(callback).status == "delivered"

    def test_two_attempts_of_one_callback_may_be_recorded_together(self) -> None:
        callback = closed(URL)
        late = claimed()
        make_due(callback.pk)
        callbacks.outbox.record([failed(late), delivered(claimed())])
        assert (again(callback).status, again(callback).attempts) == ("delivered", 2)

    def test_what_went_wrong_fits_the_record(self) -> None:
        callback = closed(URL)
        callbacks.outbox.record([failed(claimed(), status_code=None, error="\0\ud800" + "x" * 2000)])
        (attempt,) = attempts(callback)
        assert attempt.error.startswith("?xx")
        assert len(attempt.error) == callbacks.ERROR_LIMIT


class TestSendingAgain:
    @pytest.mark.parametrize("end", [delivered, lambda due: failed(due, final=True), failed])
    def test_it_is_due_at_once_and_for_another_day(self, end: Callable[[Due], Attempt[Due]]) -> None:
        """Delivered, given up, or in a long pause."""
        callback = closed(URL)
        callbacks.outbox.record([end(claimed())])
        assert callbacks.send_again(callback.pk)
        row = again(callback)
        assert row.status == "waiting"
        assert row.due_at == row.changed_at
        assert row.give_up_at == row.changed_at + LONGEST_TRY
        assert claimed().id == callback.pk

    def test_the_pauses_begin_anew(self) -> None:
        callback = closed(URL)
        for _ in range(5):
            callbacks.outbox.record([failed(claimed())])
            make_due(callback.pk)
        assert callbacks.send_again(callback.pk)
        callbacks.outbox.record([failed(claimed())])
        row = again(callback)
        assert row.due_at
        assert (row.due_at - row.changed_at).total_seconds() <= BACKOFF[0] * (1 + JITTER)
        assert row.attempts == 6

    def test_an_attempt_under_way_does_not_undo_it(self) -> None:
        callback = closed(URL)
        under_way = claimed()
        callbacks.send_again(callback.pk)
        callbacks.outbox.record([delivered(under_way)])
        assert again(callback).status == "waiting"

    def test_it_is_hinted_once_it_is_committed(self, told: list[tuple[str, list[UUID]]]) -> None:
        callback = closed(URL)
        told.clear()
        with transaction.atomic():
            callbacks.send_again(callback.pk)
            assert told == []
        assert told == [(callbacks.TOPIC, [callback.pk])]

    def test_what_is_not_there_is_not_sent(self) -> None:
        assert not callbacks.send_again(uuid4())


class TestLooking:
    def test_what_is_due_next(self) -> None:
        assert callbacks.outbox.next_due()[0] is None
        callback = closed(URL)
        assert callbacks.outbox.next_due()[0] == callback.due_at
        due = claimed()
        assert callbacks.outbox.next_due()[0] == due.claimed_until
        callbacks.outbox.record([delivered(due)])
        assert callbacks.outbox.next_due()[0] is None

    def test_what_changed(self) -> None:
        callback = closed(URL)
        assert [*callbacks.outbox.changed_since(callback.changed_at)] == [callback.pk]
        assert callbacks.outbox.changed_since(callback.changed_at + timedelta(seconds=1)) == {}
        callbacks.outbox.record([delivered(claimed())])
        assert callbacks.outbox.changed_since(callback.changed_at) == {}

    @pytest.mark.parametrize(
        ("url", "receiver"),
        [
            ("https://a.example.org/b/c?d", "https://a.example.org"),
            ("http://a.example.org:80?d", "http://a.example.org:80"),
            ("https://a.example.org", "https://a.example.org"),
        ],
    )
    @pytest.mark.one_stack
    def test_who_receives(self, url: str, receiver: str) -> None:
        assert callbacks.receiver_of(url) == receiver
