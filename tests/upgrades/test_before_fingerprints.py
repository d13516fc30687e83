"""A record from before questions had their whole meaning in their fingerprint: upgraded, it goes on.

`before_fingerprints.sql` is a SQLite database as the code of that time left it: requests that were asked
under a key, by the gate and over HTTP, and three runs that wait. One has its question on record, one goes on
from an approval, and of one the process died before it had noted what it had asked. Their terms would not
all be taken today; but what is on record is not refused for them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from pytest_django import DjangoDbBlocker, Settings

from approvals import deciding, gate
from approvals.database.threads import in_database
from approvals.exceptions import KeyConflict
from approvals.models import HumanRequest
from approvals.trail import verification
from orchestration import Run, orchestration
from orchestration.models import Run as RunRow
from orchestration.runtime import start_runtime, stop_runtime
from tests import factories, in_process
from tests.approvals.web.api.program import Program
from tests.orchestration.watching import asked, finished
from tests.stacks import SqliteDatabase, Stack

pytestmark = pytest.mark.stacks("sqlite-memory")

DUMP = Path(__file__).with_name("before_fingerprints.sql")


class FormerDatabase(SqliteDatabase):
    """The database of that time, before it is migrated."""

    def __init__(self) -> None:
        super().__init__()
        with sqlite3.connect(self._file) as database:
            database.executescript(DUMP.read_text(encoding="utf-8"))
        database.close()


@pytest.fixture(scope="module")
def upgraded(stack: Stack, django_db_blocker: DjangoDbBlocker) -> Iterator[FormerDatabase]:
    """Upgraded once; each test begins with what that was then."""
    database = FormerDatabase()
    with django_db_blocker.unblock():
        in_process.migrate(database)
        in_process.join(stack)
    yield database
    database.remove()


@pytest.fixture(autouse=True)
def former(stack: Stack, upgraded: FormerDatabase) -> Iterator[None]:
    """The stack's database is that one, upgraded."""
    usual, stack.database = stack.database, upgraded
    in_process.join(stack)
    try:
        yield
        in_process.close_parts()
    finally:
        upgraded.clean()
        stack.database = usual
        in_process.join(stack)


def id_of(key: str) -> str:
    return str(HumanRequest.objects.get(key=key).pk)


PAY: dict[str, Any] = {
    "arguments": {"order": 812, "amount": 12.5},
    "four_eyes": True,
    "on_timeout": "approve",
}
REFUND: dict[str, Any] = {
    "title": "Refund",
    "details": "*Twice.*",
    "arguments": {"order": 812},
    "assignees": {"groups": ["finance"], "users": ["bill", "ann"]},
    "four_eyes": True,
    "on_timeout": "approve",
    "timeout": 31536000,
    "key": "refund",
    "callback_url": "https://jobs.example.org/812",
    "origin": {"kind": "job", "id": "812"},
}


class TestByTheGate:
    def test_what_was_asked_is_found(self) -> None:
        bill, finance = User.objects.get(username="bill"), Group.objects.get(name="finance")
        pay = gate.open_approval("Pay ACME", key="pay", requester=bill, assignees=["ann", finance], **PAY)
        which = gate.open_clarification("Which?", key="which", choices=["4711", "4712"], assignees=[])
        assert (pay, which) == (id_of("pay"), id_of("which"))
        assert gate.open_clarification("Late?", key="late", timeout=0) == id_of("late")

    def test_an_outcome_is_returned(self) -> None:
        ship = gate.open_approval("Ship", key="ship", arguments={"order": 1})
        assert gate.outcome(ship).approved

    def test_it_is_compared_by_title_and_arguments(self) -> None:
        assert gate.open_approval("Ship", key="ship", arguments={"order": 1}, editable=True) == id_of("ship")
        with pytest.raises(KeyConflict) as conflict:
            gate.open_approval("Ship", key="ship", arguments={"order": 2})
        assert (conflict.value.request_id, conflict.value.differs) == (id_of("ship"), ("arguments",))


class TestOverHttp:
    @pytest.fixture
    def billing(self) -> Program:
        return Program.of(User.objects.get(username="bill"))

    @pytest.mark.parametrize(
        "body",
        [
            REFUND,
            {
                "kind": "clarification",
                "title": "Which cost centre?",
                "schema": {"type": "integer"},
                "assignees": {"users": [], "groups": []},
                "timeout": None,
                "default": None,
                "key": "centre",
            },
            {"title": "At once", "timeout": 0, "key": "at once"},
        ],
        ids=lambda body: body["key"],
    )
    def test_the_same_body_finds_the_same_request(self, billing: Program, body: dict[str, Any]) -> None:
        assert billing.post("/requests", {"kind": "approval", **body})["id"] == id_of(body["key"])

    @pytest.mark.parametrize(
        ("other", "differs"),
        [
            ({"details": "Thrice."}, ["details"]),
            ({"timeout": 31536001}, ["timeout"]),
            ({"origin": {"kind": "job", "id": "813"}}, ["origin"]),
            ({"four_eyes": False}, ["four_eyes"]),
            ({"assignees": {"users": ["ann"]}}, ["assignees"]),
            ({"arguments": {}}, ["arguments"]),
        ],
    )
    def test_another_body_conflicts_as_it_did(
        self, billing: Program, settings: Settings, other: dict[str, Any], differs: list[str]
    ) -> None:
        settings.SAYSO_CALLBACK_HOSTS = ["jobs.example.org"]
        settings.SAYSO_APPROVE_ON_TIMEOUT = "any"
        problem = billing.post("/requests", {"kind": "approval", **REFUND, **other}, 409)
        assert (problem["id"], problem["differs"]) == (id_of("refund"), differs)


@orchestration("before_refund")
async def refund(run: Run, *, order: int) -> Any:
    """As it was then."""
    outcome = await run.approve(
        "Refund",
        arguments={"order": order},
        required=2,
        assignees=["ann", "olga"],
        on_timeout="approve",
        timeout=None,
    )
    reason = await run.ask("Why?", choices=["duplicate", "damaged"], assignees=[], timeout=None)
    return [outcome.status, reason]


class TestRuns:
    async def test_they_go_on_with_what_they_had_asked(self) -> None:
        """Whether the call was recorded, answered, or never noted: nobody is asked a second time."""
        runs = await in_database(lambda: {row.input["order"]: row.pk for row in RunRow.objects.all()})
        before = await in_database(HumanRequest.objects.filter(kind="approval", title="Refund").count)
        ann, olga = [await in_database(User.objects.get, username=name) for name in ("ann", "olga")]
        runtime = await start_runtime(concurrency=10)
        await runtime.host.ready()
        try:
            await runtime.host.look_everywhere()
            question = await asked(runs[2], "Why?")
            await deciding.aanswer(factories.actor(olga), question["id"], "damaged")
            assert (await finished(runs[2]))["result"] == ["approved", "damaged"]
            for order in (1, 3):
                request = await asked(runs[order], "Refund")
                for person in (ann, olga):
                    await deciding.adecide(factories.actor(person), request["id"], "approve")
        finally:
            await stop_runtime()
        after = await in_database(HumanRequest.objects.filter(kind="approval", title="Refund").count)
        assert after == before
        for pk in await in_database(lambda: list(HumanRequest.objects.values_list("pk", flat=True))):
            assert await in_database(verification.verify_request, pk) == []
