"""What is removed of ended runs, what stays, and that nothing is taken from what is under way."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from approvals import deciding
from approvals.database.clock import database_now
from approvals.domain.lifecycle import REMOVED
from orchestration import OrchestrationManager
from orchestration.exceptions import AlreadyFinished, KeyConflict
from orchestration.models import Message, Run, RunStatus, StepRecord, StepStatus
from orchestration.runs import retention, run_records
from tests import factories as make

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("as_keeper")]

WORDS = "the yearly bonus"


@pytest.fixture(autouse=True)
def keeper() -> User:
    return make.user("keeper", may=("change_humanrequest",))


def ended(days: int = 400, **values: Any) -> Run:
    """A run that failed so long ago, with words everywhere."""
    at = database_now() - timedelta(days=days)
    given: dict[str, Any] = {
        "orchestration": "checklist",
        "title": WORDS,
        "input": {"title": WORDS},
        "result": WORDS,
        "error": WORDS,
        "plan": [{"action": WORDS}],
        "status": RunStatus.FAILED,
        "finished_at": at,
    }
    run = Run.objects.create(created_at=at, changed_at=at, **(given | values))
    StepRecord.objects.create(
        run=run,
        key="ask#1",
        kind="ask",
        name=WORDS,
        fingerprint="f",
        status=StepStatus.DONE,
        request_id=run.pk,
        result={"answer": WORDS, "comment": WORDS, "decided_by": "ann"},
        error=WORDS,
        started_at=at,
    )
    Message.objects.create(run=run, agent="person", text=WORDS, said_at=at)
    return run


def purge(days: str = "365", **options: Any) -> str:
    output = io.StringIO()
    call_command("purge_history", older_than=days, username="keeper", stdout=output, **options)
    return output.getvalue()


def words_of(run: Run) -> str:
    rows = [
        Run.objects.filter(pk=run.pk),
        StepRecord.objects.filter(run=run),
        Message.objects.filter(run=run),
    ]
    return repr([list(each.values()) for each in rows])


def test_what_went_in_came_out_and_was_said_is_gone() -> None:
    run = ended()
    assert "runs\t1\nsteps\t1\nmessages\t1" in purge()
    assert WORDS not in words_of(run)
    run.refresh_from_db()
    assert (run.title, run.orchestration, run.status) == (REMOVED, "checklist", RunStatus.FAILED)
    step = StepRecord.objects.get(run=run)
    assert (step.key, step.kind, step.name, step.status) == ("ask#1", "ask", REMOVED, StepStatus.DONE)
    assert "runs\t0" in purge()


def test_what_ended_lately_or_is_under_way_is_left_alone() -> None:
    lately = ended(days=300)
    under_way = ended(status=RunStatus.WAITING, finished_at=None)
    untidy = ended(leaves_requests=True)
    assert "runs\t0" in purge()
    assert all(WORDS in words_of(run) for run in (lately, under_way, untidy))


def test_a_dry_run_counts_and_changes_nothing() -> None:
    run = ended()
    assert "runs\t1\nsteps\t1\nmessages\t1" in purge(dry_run=True)
    assert words_of(run).count(WORDS) > 5


def test_more_than_one_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "SET", 2)
    for _ in range(5):
        ended()
    assert "runs\t5" in purge()


def test_a_purged_run_is_not_resumed_and_its_key_is_used_up() -> None:
    owner = make.user()
    run = ended(owner=owner, key="bonus")
    purge()
    with pytest.raises(AlreadyFinished):
        run_records.requeue(run.pk, None, lambda ids: None)
    with pytest.raises(KeyConflict, match="removed"):
        OrchestrationManager().start("checklist", {"title": "t", "items": ["one"]}, owner, key="bonus")


def test_what_an_open_run_has_asked_is_spared() -> None:
    """It reads that again when it is taken up again."""
    under_way, over = ended(status=RunStatus.WAITING, finished_at=None), ended()
    ids = [str(under_way.pk), str(over.pk), "elsewhere"]
    assert retention.still_open(ids) == {str(under_way.pk)}


def test_one_persons_words_go_from_ended_runs_alone() -> None:
    run, under_way = ended(), ended(status=RunStatus.WAITING, finished_at=None)
    assert retention.forget_in_steps([run.pk, under_way.pk], "removed-7") == 1
    assert retention.forget_in_steps([run.pk, under_way.pk], "removed-7") == 0
    result = StepRecord.objects.get(run=run).result
    assert result == {"answer": None, "comment": "", "decided_by": "removed-7"}
    assert StepRecord.objects.get(run=under_way).result["decided_by"] == "ann"


def test_words_in_a_run_that_ended_later_go_with_a_second_call() -> None:
    """The account has another name by then; a withdrawal has words, too."""
    ann = make.reviewer("ann")
    withdrawn = make.approval(requester=ann)
    deciding.withdraw(make.actor(ann), withdrawn, WORDS)
    answered = make.clarification()
    deciding.answer(make.actor(ann), answered, WORDS)
    under_way = [ended(status=RunStatus.WAITING, finished_at=None) for _ in range(2)]
    for run, request_id in zip(under_way, (withdrawn, answered), strict=True):
        StepRecord.objects.filter(run=run).update(request_id=request_id)
    forget("ann")
    assert all(step.result["decided_by"] == "ann" for step in StepRecord.objects.all())
    Run.objects.update(status=RunStatus.COMPLETED, finished_at=database_now())
    forget(f"removed-{ann.pk}")
    for step in StepRecord.objects.all():
        assert step.result == {"answer": None, "comment": "", "decided_by": f"removed-{ann.pk}"}


def forget(username: str) -> None:
    call_command("forget_person", username, username="keeper", stdout=io.StringIO())
