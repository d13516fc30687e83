"""Comments and questions: on the trail, by whoever may see the request, within bounds, and nothing else."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals import deciding, queries
from approvals.database.clock import database_now
from approvals.database.fields import new_id
from approvals.domain.commands import Accepted, Actor, Comment, OpenRequest, Refused
from approvals.domain.lifecycle import Kind, Outcome, Verdict
from approvals.exceptions import InvalidRequest, RateLimited, TooLate, UnknownRequest
from approvals.models import AuditEntry, HumanRequest, ShownContent
from approvals.process import hints
from approvals.trail import exports, retention, verification
from approvals.web.pages.wording import entry_in_words
from approvals.writer import chain, comments, execution
from tests import factories as make
from tests.marks import both_databases
from tests.tampering import as_a_superuser_might

pytestmark = [pytest.mark.django_db, both_databases]


def events(request_id: str) -> list[str]:
    return list(
        AuditEntry.objects.filter(request_id=request_id).order_by("sequence").values_list("event", flat=True)
    )


def row(request_id: str) -> HumanRequest:
    found: HumanRequest = HumanRequest.objects.get(pk=request_id)
    return found


def last_said(request_id: str) -> dict[str, Any]:
    entry = AuditEntry.objects.filter(request_id=request_id).order_by("-sequence").first()
    found: dict[str, Any] = json.loads(ShownContent.objects.get(entry=entry).content)
    return found


def sentences(request_id: str) -> list[tuple[str, Any]]:
    """The timeline, as pages, the admin and programs have it."""
    lines = [entry_in_words(entry, 1) for entry in queries.history(row(request_id))]
    return [(line.text, line.said) for line in lines]


def close_before(request_id: str, age: timedelta) -> None:
    """As if it had been closed so long ago."""
    HumanRequest.writing.filter(pk=request_id).update(closed_at=database_now() - age)


def move_back(seconds: float) -> None:
    """As if all that was said had been said so many seconds earlier; no chain holds after that."""
    with as_a_superuser_might():
        for entry in AuditEntry.writing.filter(event__in=["commented", "questioned"]):
            earlier = entry.recorded_at - timedelta(seconds=seconds)
            AuditEntry.writing.filter(pk=entry.pk).update(recorded_at=earlier)


class TestOnTheTrail:
    def test_a_question_and_its_answer_are_entries_and_nothing_else_changes(self) -> None:
        rita, olga = make.reviewer("rita"), make.user("olga")
        request_id = make.approval(requester=olga)
        before = deciding.comment(make.actor(rita), request_id, "Which customer?", question=True)
        assert before == Outcome(request_id=request_id, kind="approval", status="pending", arguments={})
        async_to_sync(deciding.acomment)(make.actor(olga), request_id, "ACME.\nOf Berlin.")
        assert events(request_id) == ["opened", "questioned", "commented"]
        assert last_said(request_id) == {"comment": "ACME.\nOf Berlin.", "question": False, "actor": "olga"}
        assert sentences(request_id)[1:] == [
            ("Question by rita", "Which customer?"),
            ("Comment by olga", "ACME.\nOf Berlin."),
        ]
        allowed = AuditEntry.objects.filter(request_id=request_id).order_by("sequence")
        assert [entry.allowed_by for entry in allowed][1:] == ["permission decide_humanrequest", "requester"]
        assert deciding.decide(make.actor(rita), request_id, "approve").comment == ""
        assert verification.verify_request(UUID(request_id)) == []

    def test_it_counts_as_a_change_and_is_hinted(self) -> None:
        told: list[UUID] = []
        request_id = make.approval()
        changed_at = row(request_id).changed_at
        hints.attach(lambda topic, ids: told.extend(ids) if topic == "requests" else None)
        try:
            deciding.comment(Actor.program(), request_id, "Soon.")
        finally:
            hints.detach(hints._sink.value)  # type: ignore[arg-type]
        assert row(request_id).changed_at > changed_at
        assert told == [UUID(request_id)]

    def test_said_again_at_once_it_is_the_same_but_not_after_somebody_spoke_or_an_hour_later(self) -> None:
        """Whoever lost the answer may repeat the call."""
        rita, olga = make.reviewer(), make.reviewer()
        request_id = make.approval()

        def ask(who: User) -> None:
            deciding.comment(make.actor(who), request_id, "Still true?")

        ask(rita)
        ask(rita)
        deciding.record_view(make.actor(olga), request_id)
        ask(rita)
        assert events(request_id) == ["opened", "commented", "viewed"]
        ask(olga)
        ask(rita)
        deciding.comment(make.actor(rita), request_id, "Still true?", question=True)
        assert events(request_id)[3:] == ["commented", "commented", "questioned"]
        move_back(3600)
        deciding.comment(make.actor(rita), request_id, "Still true?", question=True)
        assert events(request_id)[-2:] == ["questioned", "questioned"]

    def test_an_overdue_request_is_timed_out_before(self) -> None:
        request_id = make.approval(timeout=60)
        past = database_now() - timedelta(seconds=1)
        HumanRequest.writing.filter(pk=request_id).update(deadline=past)
        assert deciding.comment(Actor.program(), request_id, "Too late?").timed_out
        assert events(request_id) == ["opened", "timed_out", "commented"]

    @pytest.mark.parametrize("text", ["", " \n", "x" * 10_001, "\0", "\ud800", 7])
    def test_text_is_checked_as_comments_are(self, text: Any) -> None:
        request_id = make.approval()
        with pytest.raises(InvalidRequest, match=r"^text ") as refused:
            deciding.comment(Actor.program(), request_id, text)
        assert refused.value.field == "text"
        assert events(request_id) == ["opened"]


class TestWhoAndWhen:
    def test_whoever_may_see_it_and_nobody_else(self) -> None:
        ann, olga, vic, boss, eve = (make.user(name) for name in ("ann", "olga", "vic", "boss", "eve"))
        vic = make.user("auditor", may=("view_humanrequest",))
        request_id = make.approval(assignees=[ann, make.group(None, boss)], requester=olga)
        for number, person in enumerate((ann, olga, vic, boss)):
            deciding.comment(make.actor(person), request_id, f"{number}")
        for person in (eve, make.reviewer()):
            with pytest.raises(UnknownRequest):
                deciding.comment(make.actor(person), request_id, "And I?", question=True)
        with pytest.raises(UnknownRequest):
            deciding.comment(make.actor(ann), str(new_id()), "Is it there?")
        assert events(request_id) == ["opened", *["commented"] * 4, *["refused"] * 2]
        assert sentences(request_id)[-2] == ("eve tried to ask about it: not permitted", None)

    def test_for_thirty_days_after_it_was_closed(self) -> None:
        rita = make.reviewer("rita")
        request_id = make.approval()
        deciding.decide(make.actor(rita), request_id, "approve", comment="Fine.")
        close_before(request_id, timedelta(days=30) - timedelta(minutes=1))
        outcome = deciding.comment(make.actor(rita), request_id, "It was.")
        assert (outcome.status, outcome.comment) == ("approved", "Fine.")
        close_before(request_id, timedelta(days=30))
        with pytest.raises(TooLate, match="30 days") as refused:
            deciding.comment(make.actor(rita), request_id, "Was it?")
        assert refused.value.outcome == queries.outcome_of(row(request_id))
        assert events(request_id) == ["opened", "decided", "commented", "refused"]
        assert sentences(request_id)[-1] == ("rita tried to comment on it: it was closed long ago", None)

    def test_who_may_not_see_it_learns_nothing_of_its_state(self) -> None:
        request_id = make.approval()
        deciding.decide(Actor.program(), request_id, "approve")
        close_before(request_id, timedelta(days=31))
        with pytest.raises(UnknownRequest):
            deciding.comment(make.actor(make.user()), request_id, "Old?")


class TestHowOften:
    def said(self, person: User, number: int, request_id: str) -> list[str]:
        """What each of so many comments in one batch was answered."""
        batch = [
            Comment(request_id=UUID(request_id), actor=make.actor(person), text=str(new_id()))
            for _ in range(number)
        ]
        return [one.code if isinstance(one, Refused) else "" for one in execution.execute(batch)]

    def test_sixty_an_hour_and_person_over_all_requests(self) -> None:
        rita, olga = make.reviewer("rita"), make.reviewer("olga")
        one, other = make.approval(), make.approval()
        assert self.said(rita, 40, one) == [""] * 40
        assert self.said(rita, 30, other) == [""] * 20 + ["rate_limited"] * 10
        with pytest.raises(RateLimited, match=r"^text: .* 60 comments an hour; .* 60 min") as refused:
            deciding.comment(make.actor(rita), one, "One more?", question=True)
        assert 3500 < refused.value.retry_after <= 3600
        assert self.said(olga, 1, one) == [""]
        assert sentences(one)[-2][0] == "rita tried to ask about it: too many comments in an hour"

    def test_refusals_stay_within_the_trails_bound(self) -> None:
        rita = make.reviewer()
        request_id = make.approval()
        self.said(rita, 90, request_id)
        assert events(request_id).count("refused") == chain.REFUSALS_PER_MINUTE

    def test_an_hour_later_there_is_room_again(self) -> None:
        rita = make.reviewer()
        request_id = make.approval()
        self.said(rita, 60, request_id)
        move_back(3000)
        with pytest.raises(RateLimited) as refused:
            deciding.comment(make.actor(rita), request_id, "Now?")
        assert 500 < refused.value.retry_after <= 600
        move_back(600)
        assert self.said(rita, 61, request_id) == [""] * 60 + ["rate_limited"]

    def test_this_installations_own_code_is_not_limited(self) -> None:
        request_id = UUID(make.approval())
        batch = [Comment(request_id=request_id, actor=Actor.program(), text=f"{n}") for n in range(100)]
        assert {type(one) for one in execution.execute(batch)} == {Accepted}

    def test_batches_of_several_processes_do_not_pass_it_together(self) -> None:
        rita, writers = make.reviewer(), 4
        asked = [make.approval() for _ in range(writers)]
        together = Barrier(writers)

        def write(request_id: str) -> int:
            together.wait()
            try:
                return self.said(rita, 30, request_id).count("")
            finally:
                connection.close()

        with ThreadPoolExecutor(writers) as pool:
            assert sum(pool.map(write, asked)) == comments.LIMIT


class TestWords:
    """They are purged and forgotten like all that was said."""

    @pytest.fixture
    def discussed(self, as_keeper: None) -> tuple[str, User]:
        rita, olga = make.reviewer("rita"), make.user("olga")
        request_id = make.approval(requester=olga)
        deciding.comment(make.actor(rita), request_id, "A word of rita", question=True)
        deciding.comment(make.actor(olga), request_id, "A word of olga")
        return request_id, rita

    @pytest.fixture
    def keeper(self) -> Actor:
        return make.actor(make.user(groups=(Group.objects.get(name="administrator"),)))

    def words(self) -> str:
        return "".join(ShownContent.objects.values_list("content", flat=True))

    def test_they_are_purged_with_the_request(self, discussed: tuple[str, User], keeper: Actor) -> None:
        request_id, rita = discussed
        deciding.decide(make.actor(rita), request_id, "approve")
        deciding.comment(make.actor(rita), request_id, "A word after the end")
        self.purge(keeper, database_now() + timedelta(seconds=1))
        assert "A word" not in self.words()
        assert [text for text, _ in sentences(request_id)][1:3] == ["Question by rita", "Comment by olga"]
        assert verification.verify_request(UUID(request_id)) == []

    def test_what_is_said_about_a_purged_request_is_purged_the_next_time(
        self, discussed: tuple[str, User], keeper: Actor
    ) -> None:
        request_id, rita = discussed
        deciding.decide(make.actor(rita), request_id, "approve")
        before = database_now() + timedelta(milliseconds=1)
        self.purge(keeper, before)
        deciding.comment(make.actor(rita), request_id, "A word again")
        assert verification.verify_request(UUID(request_id)) == []
        self.purge(keeper, database_now() + timedelta(seconds=1))
        assert "A word" not in self.words()
        assert verification.verify_request(UUID(request_id)) == []

    def test_one_persons_are_forgotten_also_while_it_is_pending(
        self, discussed: tuple[str, User], keeper: Actor
    ) -> None:
        request_id, rita = discussed
        assert [one.done for one in retention.forget(keeper, rita.pk)] == [1]
        assert "A word of rita" not in self.words()
        assert "A word of olga" in self.words()
        assert verification.verify_request(UUID(request_id)) == []

    @pytest.mark.parametrize("format", ["jsonl", "csv"])
    def test_an_export_has_them_and_verifies(
        self,
        discussed: tuple[str, User],
        tmp_path: Path,
        format: str,  # noqa: A002
    ) -> None:
        file = tmp_path / "trail"
        file.write_text("".join(exports.lines(exports.Filters(), format)), newline="")
        assert file.read_text().count("A word of") == {"jsonl": 2, "csv": 4}[format]
        assert verification.verify_export(file, trusted=frozenset()).first == ()

    def purge(self, keeper: Actor, before: datetime) -> None:
        removed = retention.purge(keeper, before, sparing=lambda origins: ())
        assert [one.done for one in removed] == [1]


def test_the_number_of_statements_does_not_grow_with_the_comments() -> None:
    people = [make.reviewer() for _ in range(3)]

    def statements(number: int) -> int:
        asked = [new_id() for _ in range(number)]
        execution.execute([_opening(pk) for pk in asked])
        batch = [
            Comment(request_id=pk, actor=make.actor(people[n % 3]), text="Why?", question=n % 2 == 0)
            for n, pk in enumerate(asked)
        ]
        with CaptureQueriesContext(connection) as messages:
            results = execution.execute(batch)
        assert {type(result) for result in results} == {Accepted}
        return sum(max(1, message["sql"].count("EXECUTE sayso_")) for message in messages)

    statements(3)  # prepares what the connection keeps
    assert statements(3) == statements(150)


def _opening(request_id: UUID) -> OpenRequest:
    return OpenRequest(
        request_id=request_id,
        actor=Actor.program(),
        kind=Kind.APPROVAL,
        title="Which?",
        on_timeout=Verdict.REJECT,
    )
