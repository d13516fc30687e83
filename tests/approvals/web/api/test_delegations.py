"""Delegations over HTTP: made for oneself, listed for both, ended by either."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from approvals.models import Delegation
from tests import factories as make
from tests.approvals.web.api.program import Program, fields_at_fault

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

UNTIL = "2090-01-01T08:00:00Z"


@pytest.fixture
def ann(stack: Any) -> User:
    return make.user("ann")


@pytest.fixture
def bob(stack: Any) -> User:
    return make.user("bob")


def test_it_is_made_listed_and_ended(ann: User, bob: User) -> None:
    mine, theirs = Program.of(ann), Program.of(bob)
    body = {"delegate": "bob", "ends_at": UNTIL, "reason": "On leave"}
    made = mine.post("/delegations", body, 201)
    assert made == mine.post("/delegations", body, 201)
    assert (made["principal"], made["delegate"], made["made_by"]) == ("ann", "bob", "ann")
    assert (made["ends_at"], made["ended_at"]) == (UNTIL, None)
    assert mine.get("/delegations") == {"mine": [made], "to_me": []}
    assert theirs.get("/delegations") == {"mine": [], "to_me": [made]}
    end = f"/delegations/{made['id']}/end"
    assert Program.of(make.user()).post(end, {}, 404)["code"] == "unknown_delegation"
    ended = theirs.post(end, {})
    assert ended["ended_by"] == "bob"
    assert mine.post(end, {}) == ended


@pytest.mark.usefixtures("bob")
def test_what_will_not_do_is_a_problem(ann: User) -> None:
    program = Program.of(ann)
    wrong = program.post("/delegations", {"delegate": "ann", "ends_at": UNTIL}, 422)
    assert fields_at_fault(wrong) == ["delegate"]
    wrong = program.post("/delegations", {"delegate": "bob", "ends_at": "tomorrow"}, 422)
    assert fields_at_fault(wrong) == ["ends_at"]
    others = {"principal": "bob", "delegate": "ann", "ends_at": UNTIL}
    assert program.post("/delegations", others, 403)["code"] == "not_permitted"
    reader = Program.of(ann, "read")
    assert reader.post("/delegations", {"delegate": "bob", "ends_at": UNTIL}, 403)["code"] == "not_permitted"
    assert not Delegation.objects.exists()
