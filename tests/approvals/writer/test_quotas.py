"""What one account may have pending of what it asks over HTTP: requests, and their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from approvals import gate
from approvals.database.fields import new_id
from approvals.domain.commands import Accepted, Channel, OpenRequest, Refused, Withdraw
from approvals.domain.lifecycle import Kind, Verdict
from approvals.models import AuditEntry, HumanRequest
from approvals.writer import execution
from tests import factories as make
from tests.approvals.web.api.program import Program
from tests.effort import SHARED_FIXTURES, effort
from tests.marks import both_databases

pytestmark = [pytest.mark.django_db, both_databases]


@pytest.fixture
def bill(stack: Any) -> User:
    return make.user("bill")


def opening(person: User, size: int = 10) -> OpenRequest:
    """As the API asks, of so many bytes."""
    return OpenRequest(
        request_id=new_id(),
        actor=make.actor(person, Channel.API),
        kind=Kind.APPROVAL,
        title="Refund",
        requester_id=person.pk,
        on_timeout=Verdict.REJECT,
        counted_bytes=size,
    )


def opened(commands: Sequence[OpenRequest]) -> list[bool]:
    """Which of these were, in one batch. The others were refused for the quota."""
    results = execution.execute(commands)
    codes = {result.code for result in results if isinstance(result, Refused)}
    assert codes <= {"quota_exceeded"}
    return [isinstance(result, Accepted) for result in results]


class TestRequests:
    def test_a_batch_does_not_pass_the_limit_together(self, bill: User, settings: Settings) -> None:
        settings.SAYSO_REQUESTS_PER_USER = 20
        assert opened([opening(bill) for _ in range(15)]) == [True] * 15
        assert opened([opening(bill) for _ in range(500)]) == [True] * 5 + [False] * 495
        assert HumanRequest.objects.count() == AuditEntry.objects.count() == 20

    def test_batches_of_several_processes_do_not_pass_it_together(
        self, bill: User, settings: Settings
    ) -> None:
        settings.SAYSO_REQUESTS_PER_USER = 20
        writers = 4
        together = Barrier(writers)

        def write() -> int:
            together.wait()
            try:
                return sum(opened([opening(bill) for _ in range(15)]))
            finally:
                connection.close()

        with ThreadPoolExecutor(writers) as pool:
            assert sum(one.result() for one in [pool.submit(write) for _ in range(writers)]) == 20

    def test_what_is_closed_does_not_count(self, bill: User, settings: Settings) -> None:
        """In the same batch, too, in the order of its commands."""
        settings.SAYSO_REQUESTS_PER_USER = 2
        first, second = opening(bill), opening(bill)
        assert opened([first, second, opening(bill)]) == [True, True, False]
        back = Withdraw(request_id=first.request_id, actor=first.actor)
        results = execution.execute([opening(bill), back, opening(bill), opening(bill)])
        assert [type(one) for one in results] == [Refused, Accepted, Accepted, Refused]

    def test_others_are_not_held_up(self, bill: User, settings: Settings) -> None:
        settings.SAYSO_REQUESTS_PER_USER = 1
        ann = make.user("ann")
        assert opened([opening(bill), opening(bill), opening(ann), opening(ann)]) == [True, False] * 2

    def test_0_is_no_limit(self, bill: User, settings: Settings) -> None:
        settings.SAYSO_REQUESTS_PER_USER = settings.SAYSO_BYTES_PER_USER = 0
        assert all(opened([opening(bill, 1 << 30) for _ in range(5)]))
        settings.SAYSO_BYTES_PER_USER = 6 << 30
        assert opened([opening(bill, 1 << 30) for _ in range(2)]) == [True, False]


class TestBytes:
    def test_they_are_counted_as_they_are_stored(self, bill: User, settings: Settings) -> None:
        program = Program.of(bill)
        question: dict[str, Any] = {
            "details": "€",
            "arguments": {"note": "x" * 1_000},
            "origin": {"kind": "job"},
        }
        size = HumanRequest.objects.get(pk=program.ask("ä", **question)["id"]).counted_bytes
        stored = (
            '{"note":"'
            + "x" * 1_000
            + '"}'
            + "[]"
            + "false"
            + '["approve","reject"]'
            + "null" * 3
            + "[][]{}{}"
            + '{"kind":"job"}'
        )
        assert size == len("ä€".encode()) + len(stored)
        settings.SAYSO_BYTES_PER_USER = 3 * size - 1
        program.ask("ä", **question)
        assert f"{2 * size:,}" in program.ask("ä", **question, status=429)["detail"]
        program.ask("a")

    def test_the_default_lets_one_account_keep_64_mib(self, bill: User) -> None:
        assert opened([opening(bill, 1 << 20) for _ in range(70)]) == [True] * 64 + [False] * 6


class TestWhoIsNotCounted:
    def test_accounts_with_the_permission_have_no_limit(self, bill: User, settings: Settings) -> None:
        settings.SAYSO_REQUESTS_PER_USER, settings.SAYSO_BYTES_PER_USER = 1, 100
        free = make.user(may=("ask_without_limit",))
        by_group = make.user()
        group = make.group("programs", by_group)
        group.permissions.set(free.user_permissions.all())
        root = make.user(is_superuser=True)
        for person in (free, by_group, root):
            assert all(opened([opening(person, 60) for _ in range(3)]))
        gone = make.user(is_superuser=True, is_active=False)
        assert opened([opening(gone), opening(gone)]) == [True, False]

    def test_what_python_code_and_runs_ask_never_counts_and_never_fails(
        self, bill: User, settings: Settings
    ) -> None:
        settings.SAYSO_REQUESTS_PER_USER, settings.SAYSO_BYTES_PER_USER = 1, 1_000
        large = {"note": "x" * 2_000}
        for number in range(3):
            gate.open_approval("Refund", requester=bill, arguments=large)
            origin = {"kind": "run", "id": str(number)}
            gate.open_clarification("Why?", requester=bill, origin=origin)
        program = Program.of(bill)
        program.ask()
        program.ask(status=429)
        gate.open_approval("Refund", requester=bill, arguments=large)


class TestOverHttp:
    def test_it_is_a_problem_and_nothing_is_opened(self, bill: User, settings: Settings) -> None:
        """When to repeat is not said: that depends on who decides."""
        settings.SAYSO_REQUESTS_PER_USER = 1
        program = Program.of(bill)
        first = program.ask(key="one")
        problem = program.ask(key="two", status=429)
        assert problem["code"] == "quota_exceeded"
        assert problem["detail"] == (
            "You have 1 requests pending that you asked over HTTP; 1 may be."
            " Withdraw some, or wait until they are decided."
        )
        assert not program.last.has_header("Retry-After")
        assert HumanRequest.objects.count() == 1
        # What is on record is found again all the same.
        assert program.ask(key="one", status=200)["id"] == first["id"]
        program.post(f"/requests/{first['id']}/withdraw")
        assert program.ask(key="two")["status"] == "pending"

    def test_tokens_and_sessions_of_an_account_share_its_quota_and_waiting_needs_none(
        self, bill: User, settings: Settings
    ) -> None:
        settings.SAYSO_REQUESTS_PER_USER = 1
        first = Program.of(bill).ask()
        Program.in_session(bill).ask(status=429)
        assert Program.of(bill).get(f"/requests/{first['id']}/outcome", 202)["status"] == "pending"


def test_the_number_of_statements_does_not_grow_with_the_openings(bill: User, settings: Settings) -> None:
    """And it is one message as before (PostgreSQL), however much is pending."""
    settings.SAYSO_REQUESTS_PER_USER = 700

    def costs(number: int) -> tuple[int, int]:
        with CaptureQueriesContext(connection) as messages:
            opened([opening(bill) for _ in range(number)])
        sent = [message["sql"] for message in messages]
        return len(sent), sum(max(1, sql.count("EXECUTE sayso_")) for sql in sent)

    costs(1)
    few = costs(1)
    assert costs(500) == costs(300) == few
    uncounted = [opening(bill, 0)]
    with CaptureQueriesContext(connection) as messages:
        execution.execute(uncounted)
    assert few[0] - len(messages) == (0 if connection.vendor == "postgresql" else 1)


class Wish(NamedTuple):
    """One of two accounts asks for so many bytes, or takes back what it asked first."""

    account: int
    size: int | None


@given(
    batches=st.lists(
        st.lists(st.builds(Wish, st.integers(0, 1), st.none() | st.integers(1, 60)), max_size=8), max_size=5
    ),
    most=st.integers(0, 4),
    most_bytes=st.sampled_from([0, 60, 100]),
)
@effort(15, allowed=(SHARED_FIXTURES,))
def test_whatever_is_asked_and_closed_is_refused_exactly_where_it_would_be_too_much(
    stack: Any, batches: list[list[Wish]], most: int, most_bytes: int
) -> None:
    """Held against a model that counts in memory; batches of any size and order."""
    people = [make.user(), make.user()]
    pending: list[list[OpenRequest]] = [[], []]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.conf.settings.SAYSO_REQUESTS_PER_USER", most, raising=False)
        patch.setattr("django.conf.settings.SAYSO_BYTES_PER_USER", most_bytes, raising=False)
        for batch in batches:
            commands: list[OpenRequest | Withdraw] = []
            expected: list[type] = []
            for account, size in batch:
                mine = pending[account]
                if size is None:
                    if mine:
                        first = mine.pop(0)
                        commands.append(Withdraw(request_id=first.request_id, actor=first.actor))
                        expected.append(Accepted)
                    continue
                command = opening(people[account], size)
                fits = not most or len(mine) < most
                fits_in = not most_bytes or sum(one.counted_bytes for one in mine) + size <= most_bytes
                if fits and fits_in:
                    mine.append(command)
                commands.append(command)
                expected.append(Accepted if fits and fits_in else Refused)
            assert [type(result) for result in execution.execute(commands)] == expected
