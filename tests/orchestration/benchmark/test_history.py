"""A history of the benchmark is as good as one that people have made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from uuid import UUID

import pytest

from approvals import queries
from approvals.models import HumanRequest
from approvals.process import hints
from approvals.trail import verification
from orchestration.benchmark import history

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nobody_listens() -> Iterator[None]:
    def taken(topic: str, ids: object) -> None:
        pass

    hints.attach(taken)
    yield
    hints.detach(taken)


def test_a_history_was_opened_and_decided_and_its_trails_hold() -> None:
    history.make_past(history.make_people(), 60)
    requests = HumanRequest.objects.all()
    assert Counter(request.status for request in requests) == {"approved": 60}
    assert verification.verify().holds


def test_the_plain_user_has_as_much_to_see_whatever_else_is_pending() -> None:
    people = history.make_people()
    history.make_pending(people, 40)
    few = _ids(people.plain)
    history.make_pending(people, 120)
    assert len(few) == 3 * history.OWN
    assert len(_ids(people.plain)) == 2 * len(few)


def test_the_reviewer_may_decide_what_is_handed_to_her() -> None:
    people = history.make_people()
    free = history.make_pending(people, 60)
    assert free
    assert set(free) <= _ids(people.reviewer)
    assert set(history.open_unassigned(people, 5)) <= _ids(people.reviewer)


def _ids(user_id: int) -> set[UUID]:
    return {request.pk for request in queries.list_inbox(user_id)}
