"""Reads of runs: who sees which, and how they look to people and programs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from orchestration import queries
from orchestration.engines import hand_over
from orchestration.exceptions import UnknownRun
from orchestration.models import Message, Process, Run, StepRecord
from orchestration.runs import call_records, journal, run_records
from tests import factories

pytestmark = pytest.mark.django_db


def run(owner: User | None = None, **fields: Any) -> Run:
    now = timezone.now()
    values = {"orchestration": "disk_cleanup", "title": "Disk cleanup", "created_at": now, "changed_at": now}
    return Run.objects.create(owner=owner, **(values | fields))


def step(of: Run, position: int, **fields: Any) -> StepRecord:
    values = {"key": f"ask#{position}", "kind": "ask", "name": f"Question {position}?", "status": "open"}
    return StepRecord.objects.create(
        run=of,
        position=position,
        request_id=uuid4(),
        started_at=timezone.now(),
        **(values | fields),
    )


def test_people_see_their_own_runs() -> None:
    """Who may view runs sees all; superusers may everything; the inactive see nothing."""
    ann, bob = factories.user("ann"), factories.user("bob")
    anns, bobs, nobodys = run(ann), run(bob), run()
    auditor = factories.user(may=("view_run",))
    root = factories.user(is_superuser=True)
    gone = factories.user(may=("view_run",), is_active=False)
    assert queries.list_runs(ann.pk) == [anns]
    for sees_all in (auditor, root):
        assert set(queries.list_runs(sees_all.pk)) == {anns, bobs, nobodys}
    assert queries.list_runs(gone.pk) == []
    assert queries.visible_run_ids([ann.pk, root.pk, gone.pk], [anns.pk, bobs.pk]) == {
        ann.pk: {anns.pk},
        root.pk: {anns.pk, bobs.pk},
    }


def test_who_sees_which_runs_costs_the_same_however_many(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    """Rights held by name, by a group or as a superuser; nothing is read once for each user or run."""
    auditors = factories.group()
    auditors.permissions.set(Permission.objects.filter(codename="view_run"))
    see_all = [
        factories.user(groups=(auditors,), may=("view_run",)),
        factories.user(groups=(auditors,)),
        factories.user(is_superuser=True),
    ]
    owners = [factories.user() for _ in range(3)]
    runs = [run(owner).pk for owner in owners]
    gone = factories.user(groups=(auditors,), is_active=False)
    with django_assert_num_queries(3):
        visible = queries.visible_run_ids([user.pk for user in [*see_all, *owners, gone]], runs)
    assert visible == {user.pk: set(runs) for user in see_all} | {
        owner.pk: {run_id} for owner, run_id in zip(owners, runs, strict=True)
    }


def test_what_may_not_be_seen_does_not_exist() -> None:
    """Foreign, absent and malformed ids are refused alike."""
    ann, bob = factories.user("ann"), factories.user("bob")
    bobs = run(bob)
    assert queries.run_for(bob.pk, str(bobs.pk)) == bobs
    for unknown in (bobs.pk, uuid4(), "nonsense", ""):
        with pytest.raises(UnknownRun):
            queries.run_for(ann.pk, unknown)


def test_rights_are_the_owners_or_by_permission() -> None:
    """To change, and to start."""
    ann, bob = factories.user("ann"), factories.user("bob", may=("change_run", "add_run"))
    anns = run(ann)
    assert queries.may_change(ann.pk, anns)
    assert queries.may_change(bob.pk, anns)
    assert not queries.may_change(factories.user().pk, anns)
    assert queries.may_start(bob.pk)
    assert not queries.may_start(ann.pk)


def test_runs_are_found_by_title_orchestration_owner_and_id() -> None:
    """The newest first, a page at most, of one status where one is named."""
    ann = factories.user("ann")
    root = factories.user("root", is_superuser=True)
    now = timezone.now()
    old = run(ann, created_at=now - timedelta(days=1))
    new = run(None, orchestration="refund", title="Pay back", status="failed", finished_at=now)

    def found(**filters: Any) -> list[Run]:
        return queries.list_runs(root.pk, **filters)

    assert found() == [new, old]
    assert found(limit=1) == [new]
    assert found(status="failed") == [new]
    assert found(search="pay BACK") == [new]
    assert found(search="disk_c") == [old]
    assert found(search=" ann ") == [old]
    assert found(search=str(old.pk)) == [old]
    assert found(search="nothing") == []


def test_a_run_on_the_wire_says_what_it_waits_for() -> None:
    """Open requests, in the order in which they were asked; a run that ended waits for nothing."""
    ann = factories.user("ann")
    waiting = run(ann, status="waiting", input={"order": 1})
    first, second = step(waiting, 1), step(waiting, 2)
    step(waiting, 3, status="done")
    wire = queries.run_on_the_wire(queries.run_for(ann.pk, waiting.pk))
    assert wire["waiting_for"] == [str(first.request_id), str(second.request_id)]
    assert wire["owner"] == "ann"
    assert wire["created_at"].endswith("Z")
    assert queries.run_on_the_wire(Run.objects.get(pk=waiting.pk)) == wire
    Run.objects.update(status="failed", finished_at=timezone.now())
    assert queries.run_on_the_wire(queries.run_for(ann.pk, waiting.pk))["waiting_for"] == []


def test_a_list_of_runs_costs_the_same_however_long(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    """Nothing is read once for each run."""
    ann = factories.user("ann", is_superuser=True)
    for _ in range(3):
        step(run(ann, status="waiting"), 1)
    with django_assert_num_queries(3):
        assert len([queries.run_on_the_wire(each) for each in queries.list_runs(ann.pk)]) == 3


def test_messages_come_in_order_and_from_where_one_left_off() -> None:
    """`after` is the id of the last one known."""
    spoken = run()
    said = [
        Message.objects.create(run=spoken, agent="a", text=text, said_at=timezone.now())
        for text in ("one", "two", "three")
    ]
    assert queries.messages_of(spoken) == said
    assert queries.messages_of(spoken.pk, after=said[0].pk) == said[1:]


def test_what_nobody_executes_is_found() -> None:
    """Never owned, given back, or expired; not what lives, and not what has ended."""
    now = timezone.now()
    lives = {"started_at": now, "expires_at": now + timedelta(minutes=1)}
    living = Process.objects.create(name="living", **lives)
    released = Process.objects.create(name="released", released_at=now, **lives)
    expired = Process.objects.create(name="expired", started_at=now, expires_at=now - timedelta(minutes=1))
    free = [run(), run(process=released), run(process=expired, status="waiting")]
    taken = [run(process=living), run(process=expired, status="completed", finished_at=now)]
    ids = sorted(each.pk for each in free)
    assert queries.unowned_runs(limit=9) == ids
    assert queries.unowned_runs(limit=1) == ids[:1]
    assert queries.unowned_runs(after=ids[0], limit=9) == ids[1:]
    assert queries.unowned_runs([each.pk for each in taken], limit=9) == []


def test_what_changed_is_found_by_time() -> None:
    """From the moment named on, as the re-check asks."""
    now = timezone.now()
    run(changed_at=now - timedelta(minutes=1))
    later = run(changed_at=now)
    assert [*queries.runs_changed_since(now)] == [later.pk]


def test_every_write_of_a_run_counts_as_a_change() -> None:
    """So that a lost hint costs time only."""
    run_id = _opened()
    Run.objects.update(changed_at=timezone.now() - timedelta(days=1))
    before = timezone.now() - timedelta(hours=1)
    owned = journal.claim([run_id], _process())[0].ownership
    assert [*queries.runs_changed_since(before)] == [run_id]
    Run.objects.update(changed_at=timezone.now() - timedelta(days=1))
    call_records.extend_message(owned, 1, "x")
    assert [*queries.runs_changed_since(before)] == [run_id]


def _opened() -> UUID:
    run_id, _ = run_records.open_run(
        orchestration="checklist",
        title="X",
        given={},
        owner_id=None,
        key="",
        process_id=None,
        hand_over=hand_over,
    )
    return run_id


def _process() -> UUID:
    now = timezone.now()
    return Process.objects.create(name="p", started_at=now, expires_at=now + timedelta(minutes=1)).pk
