"""Properties of the lifecycle's rules, against a model written from the words of the specification."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from approvals.domain.lifecycle import (
    CLOSED,
    Kind,
    Outcome,
    Status,
    Verdict,
    approved,
    is_overdue,
    may_become,
    tally,
)
from tests.effort import effort

kinds = st.sampled_from(Kind)
statuses = st.sampled_from(Status)
verdicts = st.sampled_from(Verdict)
moments = st.integers(946_684_800, 4_102_444_800).map(lambda instant: datetime.fromtimestamp(instant, UTC))

ENDS = {
    Kind.APPROVAL: {"approved", "rejected", "answered", "timed_out", "withdrawn"},
    Kind.CLARIFICATION: {"answered", "timed_out", "withdrawn"},
}


# --- Moves ---


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("target", Status)
def test_only_a_pending_request_moves_and_only_to_an_end_of_its_kind(
    kind: Kind, status: Status, target: Status
) -> None:
    """Everything closed stays as it is; nothing becomes pending again."""
    assert may_become(kind, status, target) is (status == "pending" and target.value in ENDS[kind])


def test_closed_is_everything_but_pending() -> None:
    """Each status is either open or an end of some kind."""
    assert {status.value for status in CLOSED} == ENDS[Kind.APPROVAL] | ENDS[Kind.CLARIFICATION]
    assert [
        status for status in Status if not Outcome(request_id="x", kind="approval", status=status).closed
    ] == [Status.PENDING]


# --- Votes ---


@effort()
@given(st.integers(1, 20), st.integers(0, 40))
def test_approvals_approve_from_the_quorum_on(required: int, votes: int) -> None:
    """N of M: one less than required decides nothing."""
    expected = Status.APPROVED if votes >= required else Status.PENDING
    assert tally([Verdict.APPROVE] * votes, required) is expected


@effort()
@given(st.lists(verdicts), st.lists(verdicts), st.integers(1, 5))
def test_one_rejection_rejects(before: list[Verdict], after: list[Verdict], required: int) -> None:
    """Wherever it stands among the votes, and however many approve."""
    assert tally([*before, Verdict.REJECT, *after], required) is Status.REJECTED


@effort()
@given(st.lists(verdicts), st.integers(1, 5), st.randoms())
def test_the_order_of_votes_does_not_matter(votes: list[Verdict], required: int, random: Random) -> None:
    """Who came first decides nothing about the sum."""
    shuffled = list(votes)
    random.shuffle(shuffled)
    assert tally(shuffled, required) is tally(votes, required)


@effort()
@given(st.lists(verdicts), verdicts, st.integers(1, 5))
def test_what_votes_have_decided_no_later_vote_undoes_but_a_rejection(
    votes: list[Verdict], later: Verdict, required: int
) -> None:
    """More approvals never take an approval back."""
    before = tally(votes, required)
    after = tally([*votes, later], required)
    if later is Verdict.REJECT:
        assert after is Status.REJECTED
    elif before is not Status.PENDING:
        assert after is before


def test_one_vote_is_read_at_a_time() -> None:
    """Votes may come from a query; a rejection ends the reading."""
    votes = iter([Verdict.APPROVE, Verdict.REJECT, Verdict.APPROVE])
    assert tally(votes, 5) is Status.REJECTED
    assert list(votes) == [Verdict.APPROVE]


# --- Deadlines ---


@effort()
@given(moments, st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=365)))
def test_late_begins_at_the_deadline_itself(deadline: datetime, gap: timedelta) -> None:
    """The instant before is in time; the deadline and all after are late."""
    assert not is_overdue(deadline, deadline - gap)
    assert is_overdue(deadline, deadline)
    assert is_overdue(deadline, deadline + gap)


@effort()
@given(moments)
def test_without_a_deadline_nothing_is_late(now: datetime) -> None:
    """None means: whenever you like."""
    assert not is_overdue(None, now)


# --- Yes or no ---


@effort()
@given(kinds, statuses, st.none() | verdicts)
def test_approved_is_a_yes_a_no_or_nothing_yet(
    kind: Kind, status: Status, on_timeout: Verdict | None
) -> None:
    """Yes only if people approved, or the deadline did and was told to; clarifications have neither."""
    expected: bool | None
    if kind == "clarification" or status == "pending":
        expected = None
    else:
        expected = status == "approved" or (status == "timed_out" and on_timeout == "approve")
    assert approved(kind, status, on_timeout) is expected


# --- A whole life ---


class Life(RuleBasedStateMachine):
    """One approval, moved as the writer moves it, beside a model that only remembers what happened."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.status = Status.PENDING
        self.votes: list[Verdict] = []
        self.ended_by: str | None = None
        self.history: list[Status] = []

    @initialize(required=st.integers(1, 3), on_timeout=verdicts, patience=st.none() | st.integers(0, 5))
    def open(self, required: int, on_timeout: Verdict, patience: int | None) -> None:
        self.required = required
        self.on_timeout = on_timeout
        self.deadline = None if patience is None else self.now + timedelta(seconds=patience)
        self.approvals_missing = required

    @rule(length=st.integers(0, 3))
    def time_passes(self, length: int) -> None:
        self.now += timedelta(seconds=length)

    @rule(verdict=verdicts)
    def somebody_votes(self, verdict: Verdict) -> None:
        if is_overdue(self.deadline, self.now):
            self._move(Status.TIMED_OUT, "deadline")
            return
        if self.status is not Status.PENDING:
            return
        self.votes.append(verdict)
        self.approvals_missing -= verdict == "approve"
        if verdict == "reject":
            self._expect("rejection")
        elif self.approvals_missing == 0:
            self._expect("approval")
        self._move(tally(self.votes, self.required), self.ended_by)

    @rule()
    def the_keeper_looks(self) -> None:
        if is_overdue(self.deadline, self.now):
            self._move(Status.TIMED_OUT, "deadline")

    @rule()
    def the_requester_withdraws(self) -> None:
        self._move(Status.WITHDRAWN, "withdrawal")

    @rule()
    def somebody_answers_with_a_text_instead(self) -> None:
        self._move(Status.ANSWERED, "answer")

    @precondition(lambda self: self.ended_by is not None)
    @rule(status=statuses)
    def nothing_moves_after_the_end(self, status: Status) -> None:
        assert not may_become(Kind.APPROVAL, self.status, status)

    @invariant()
    def there_is_one_end_at_most(self) -> None:
        assert len(self.history) <= 1
        assert (self.status is Status.PENDING) is (self.ended_by is None)

    @invariant()
    def the_yes_or_no_is_that_of_the_end(self) -> None:
        if self.ended_by is None:
            expected = None
        elif self.ended_by == "deadline":
            expected = self.on_timeout == "approve"
        else:
            expected = self.ended_by == "approval"
        assert approved(Kind.APPROVAL, self.status, getattr(self, "on_timeout", None)) is expected

    def _expect(self, end: str) -> None:
        self.ended_by = self.ended_by or end

    def _move(self, target: Status, end: str | None) -> None:
        if may_become(Kind.APPROVAL, self.status, target):
            self.status = target
            self.history.append(target)
            self.ended_by = end


TestLife = Life.TestCase
