"""People confirm one item after the other; who confirmed what is in the report."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from approvals.database.threads import in_database
from orchestration.exceptions import InvalidInput
from orchestration.ready_made.checklist import AGAIN, SKIP, STOP
from orchestration.runtime import Runtime
from tests import factories
from tests.marks import every_engine
from tests.orchestration.people import Attended, begin

pytestmark = pytest.mark.one_stack


async def start(runtime: Runtime, owner: User, *items: Any, **more: Any) -> Attended:
    return await begin(runtime, "checklist", owner, title="Release 2.4", items=list(items), **more)


def states(run: dict[str, Any]) -> list[str]:
    return [shown["state"] for shown in run["plan"]]


@every_engine
async def test_confirmed_items_are_reported_with_names_and_notes(runtime: Runtime, owner: User) -> None:
    run = await start(runtime, owner, "Tests are green", {"title": "Backup", "details": "Last night's"})
    first = await run.approve("Release 2.4: Tests are green", comment="412 passed")
    second = await run.approve("Release 2.4: Backup")
    finished = await run.finished()

    assert first["arguments"] == {"checklist": "Release 2.4", "number": 1, "item": "Tests are green"}
    assert second["details"] == "Last night's"
    assert first["deadline"] is None
    assert finished["result"].splitlines() == [
        "Release 2.4: 2 confirmed, 0 skipped.",
        "1. Tests are green: confirmed by ana: 412 passed",
        "2. Backup: confirmed by ana",
    ]
    assert states(finished) == ["completed", "completed"]


async def test_an_item_waits_for_those_it_names(runtime: Runtime, owner: User) -> None:
    """Four eyes and several confirmations too."""
    ben, eva = [await in_database(factories.user, name) for name in ("ben", "eva")]
    await in_database(factories.group, "ops", ben, eva)
    item = {"title": "Deploy", "assignees": ["ops"], "required": 2, "four_eyes": True}
    run = await start(runtime, owner, item)
    request = await run.asked()
    await run.approve(by=ben, closes=False)
    await run.approve(by=eva)

    assert request["assignees"] == {"users": [], "groups": ["ops"]}
    assert (request["required"], request["four_eyes"]) == (2, True)
    assert (await run.finished())["status"] == "completed"


async def test_after_a_rejection_the_owner_says_how_to_go_on(runtime: Runtime, owner: User) -> None:
    ben = await in_database(factories.user, "ben")
    run = await start(runtime, owner, {"title": "Backup", "assignees": ["ben"]}, "Tests are green")
    await run.reject("disk full", by=ben)
    question = await run.answer(AGAIN, "How to go on? Backup")
    await run.reject("still full", "Release 2.4: Backup", by=ben)
    await run.answer(SKIP)
    await run.approve("Release 2.4: Tests are green")
    finished = await run.finished()

    assert "disk full" in question["details"]
    assert question["choices"] == [AGAIN, SKIP, STOP]
    assert finished["result"].splitlines()[:2] == [
        "Release 2.4: 1 confirmed, 1 skipped.",
        "1. Backup: skipped",
    ]
    assert states(finished) == ["skipped", "completed"]
    assert "still full" in finished["plan"][0]["note"]


async def test_stopping_ends_the_run_as_rejected(runtime: Runtime, owner: User) -> None:
    run = await start(runtime, owner, "Backup", "Tests are green")
    await run.reject("disk full")
    await run.answer(STOP)
    finished = await run.finished()
    assert finished["status"] == "rejected"
    assert "disk full" in finished["error"]
    assert states(finished) == ["rejected", "skipped"]


async def test_an_item_that_nobody_confirms_in_time_is_the_owners(runtime: Runtime, owner: User) -> None:
    run = await start(runtime, owner, "Backup", timeout=0.01)
    question = await run.answer(SKIP, "How to go on? Backup")
    assert "nobody decided in time" in question["details"]
    assert (await run.finished())["status"] == "completed"


async def test_unknown_people_are_named_before_anybody_is_asked(runtime: Runtime, owner: User) -> None:
    run = await start(runtime, owner, "Backup", {"title": "Deploy", "assignees": ["ana", "opps"]})
    finished = await run.finished()
    assert finished["status"] == "failed"
    assert "items[1].assignees[1]: 'opps' is no active user and no group" in finished["error"]


@pytest.mark.parametrize(
    ("items", "field"),
    [
        ([], "items"),
        (["Backup", ""], "items[1].title"),
        ([{"titel": "Backup"}], "items[0].title"),
        ([{"title": "Backup", "who": "ana"}], "items[0].who"),
        ([{"title": "Backup", "required": 0}], "items[0].required"),
        ([1], "items[0]"),
    ],
)
async def test_a_malformed_list_is_refused_before_anything_starts(
    runtime: Runtime, owner: User, items: list[Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await start(runtime, owner, *items)
    assert refused.value.field == field
