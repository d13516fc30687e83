"""Starting runs from views, tasks and signals: `orchestration.start` and `astart`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.db.models.signals import post_save

from approvals.process import hints
from orchestration import astart, start
from orchestration.exceptions import InvalidInput, KeyConflict, UnknownOrchestration
from orchestration.models import Run
from orchestration.runs import journal
from orchestration.runtime import Runtime
from tests import factories
from tests.marks import both_databases, every_engine
from tests.orchestration import watching

RELEASE = {"title": "Release 2.4", "items": ["Tests are green"]}

pytestmark = both_databases


@pytest.fixture
def told(stack: Any) -> Iterator[list[UUID]]:
    """The runs of which processes are told."""
    ids: list[UUID] = []

    def note(topic: str, changed: Sequence[UUID]) -> None:
        if topic == journal.TOPIC:
            ids.extend(changed)

    hints.attach(note)
    yield ids
    hints.detach(note)


@pytest.mark.django_db
def test_a_run_belongs_to_its_owner_and_key(told: list[UUID]) -> None:
    olga = factories.user("olga")

    run_id = start("checklist", RELEASE, owner=olga, key="release-2.4")

    assert start("checklist", RELEASE, owner=olga.pk, key="release-2.4") == run_id
    with pytest.raises(KeyConflict):
        start("checklist", RELEASE | {"title": "Other"}, owner=olga, key="release-2.4")
    run = Run.objects.get()
    assert (run.pk, run.owner, run.status, run.input) == (run_id, olga, "queued", RELEASE)
    assert told == [run_id]


@pytest.mark.django_db
def test_inside_a_transaction_it_takes_effect_with_the_commit(told: list[UUID]) -> None:
    with transaction.atomic():
        run_id = start("checklist", RELEASE)
        assert told == []
    assert told == [run_id]
    assert Run.objects.filter(pk=run_id).exists()


@every_engine
@pytest.mark.django_db
def test_a_rollback_leaves_no_run(told: list[UUID]) -> None:
    with transaction.atomic():
        start("checklist", RELEASE)
        transaction.set_rollback(True)
    assert told == []
    assert not Run.objects.exists()


@pytest.mark.django_db
def test_the_transaction_around_it_goes_on_as_it_was() -> None:
    """Neither a key that is taken nor our own bounds of time change it."""
    start("checklist", RELEASE, key="once")
    with transaction.atomic():
        start("checklist", RELEASE, key="once")
        with pytest.raises(KeyConflict):
            start("checklist", RELEASE | {"title": "Other"}, key="once")
        Group.objects.create(name="written afterwards")
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),"
                    " current_setting('idle_in_transaction_session_timeout')"
                )
                assert cursor.fetchone() == ("0", "0", "0")
    assert Group.objects.filter(name="written afterwards").exists()


@pytest.mark.django_db
def test_a_signal_starts_a_run_for_what_is_saved() -> None:
    def on_new_group(sender: object, instance: Group, created: bool, **told: object) -> None:
        start("checklist", RELEASE | {"title": f"Welcome {instance.name}"})

    post_save.connect(on_new_group, sender=Group)
    try:
        Group.objects.create(name="finance")
    finally:
        post_save.disconnect(on_new_group, sender=Group)
    assert Run.objects.get().input["title"] == "Welcome finance"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "given", "error"),
    [("no such", {}, UnknownOrchestration), ("checklist", {"title": 1}, InvalidInput)],
)
def test_what_can_not_start_is_refused_at_once(name: str, given: Any, error: type[Exception]) -> None:
    with transaction.atomic(), pytest.raises(error):
        start(name, given)
    assert not Run.objects.exists()


@pytest.mark.django_db
def test_a_coroutine_is_part_of_the_transaction_of_who_runs_it() -> None:
    with transaction.atomic():
        async_to_sync(astart)("checklist", RELEASE)
        assert Run.objects.count() == 1
        transaction.set_rollback(True)
    assert not Run.objects.exists()
    with transaction.atomic():
        run_id = async_to_sync(astart)("checklist", RELEASE)
    assert Run.objects.get().pk == run_id


@every_engine
async def test_a_server_executes_what_was_started(runtime: Runtime, owner: User) -> None:
    run_id = await astart("checklist", RELEASE, owner=owner)

    assert (await watching.asked(run_id))["title"] == "Release 2.4: Tests are green"
