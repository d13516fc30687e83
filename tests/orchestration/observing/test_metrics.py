"""What `/metrics` says is what happened, and not everybody may read it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now
from django.test import Client
from pytest_django import Settings

from approvals import deciding, gate
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.domain.commands import Channel
from approvals.exceptions import AlreadyDecided, TooLate
from approvals.models import HumanRequest, Notification
from approvals.process.telemetry import REGISTRY
from approvals.queries.lookups import count_notifications, count_pending
from approvals.waiting.waiting_room import waiting_room
from approvals.web.edge import tokens
from orchestration.manager import OrchestrationManager
from tests import factories
from tests.conftest import Manage, Serve
from tests.looking import until, until_seen
from tests.orchestration.observing.served import Numbers, asked, labelled, numbers, parsed, until_ready
from tests.patience import patience
from tests.plans import plan_of
from tests.processes import Server, free_port
from tests.servers import PostgresServer, RedisServer
from tests.stacks import Stack
from tests.told import told

TOKEN = "not for everybody"


class Counted:
    """By how much a number of this process has grown."""

    def __init__(self, name: str, **labels: str) -> None:
        self._name, self._labels = name, labels
        self._before = self._now()

    def __call__(self) -> float:
        return self._now() - self._before

    def _now(self) -> float:
        return REGISTRY.get_sample_value(self._name, self._labels) or 0.0


def _decided(outcome: str, channel: str) -> Counted:
    return Counted("sayso_decisions_total", outcome=outcome, channel=channel)


def _set_deadline(request_id: str, seconds_ago: float) -> None:
    past = database_now() - timedelta(seconds=seconds_ago)
    HumanRequest.writing.filter(pk=request_id).update(deadline=past)


@pytest.mark.django_db
class TestCounting:
    @pytest.mark.one_stack
    def test_each_end_is_counted_once_by_outcome_and_channel(self) -> None:
        approved, answered = _decided("approved", "page"), _decided("answered", "api")
        opened = Counted("sayso_requests_opened_total", kind="approval")
        refused = Counted("sayso_refusals_total", code="already_decided")
        rita, other = factories.reviewer(), factories.reviewer()
        request_id, question = factories.approval(), factories.clarification()
        deciding.decide(factories.actor(rita), request_id, "approve")
        deciding.decide(factories.actor(rita), request_id, "approve")
        with pytest.raises(AlreadyDecided):
            deciding.decide(factories.actor(other), request_id, "reject")
        deciding.answer(factories.actor(rita, Channel.API), question, "1200")
        assert [approved(), answered(), opened(), refused()] == [1, 1, 1, 1]

    @pytest.mark.one_stack
    def test_a_vote_that_decides_nothing_yet_is_no_decision(self) -> None:
        approved = _decided("approved", "page")
        people = [factories.reviewer(), factories.reviewer()]
        request_id = factories.approval(required=2)
        for person, expected in zip(people, (0, 1), strict=True):
            deciding.decide(factories.actor(person), request_id, "approve")
            assert approved() == expected

    def test_a_timeout_is_counted_where_it_is_recorded_and_by_how_late_that_was(self) -> None:
        """Also where it is a late decision that finds it."""
        timed_out = _decided("timed_out", "deadline")
        effect = Counted("sayso_timeouts_total", effect="reject")
        late = Counted("sayso_deadline_lateness_seconds_count")
        below = Counted("sayso_deadline_lateness_seconds_bucket", le="5.0")
        within = Counted("sayso_deadline_lateness_seconds_bucket", le="300.0")
        request_id = factories.approval(timeout=3600.0)
        _set_deadline(request_id, 100)
        with pytest.raises(TooLate):
            deciding.decide(factories.actor(factories.reviewer()), request_id, "approve")
        assert [timed_out(), effect(), late(), below(), within()] == [1, 1, 1, 0, 1]

    @pytest.mark.one_stack
    def test_the_writer_tells_its_batches(self) -> None:
        batches, commands = Counted("sayso_writer_batch_size_count"), Counted("sayso_writer_batch_size_sum")
        took = Counted("sayso_writer_batch_seconds_count")
        factories.approval()
        assert [batches(), commands(), took()] == [1, 1, 1]

    @pytest.mark.one_stack
    async def test_a_resumed_wait_is_measured(self) -> None:
        """From what the row says to the waiter; who comes too late to wait has not been resumed."""
        resumed = Counted("sayso_resume_seconds_count")
        late = Counted("sayso_resume_seconds_bucket", le="60.0")
        room = waiting_room()
        await room.start()
        try:
            request_id = await in_database(factories.approval)
            waiting = asyncio.create_task(gate.wait_for_outcome(request_id))
            await until(lambda: len(room))
            # SQLite's clock has milliseconds: what it says of the decision must be later than the wait.
            later = await in_database(database_now) + timedelta(milliseconds=10)
            await until_seen(lambda: in_database(lambda: database_now() > later))
            reviewer = await in_database(factories.reviewer)
            await deciding.adecide(factories.actor(reviewer), request_id, "approve")
            assert (await waiting).approved
            assert [resumed(), late()] == [1, 1]
            assert (await gate.wait_for_outcome(request_id)).approved
            assert resumed() == 1
        finally:
            await room.stop()

    def test_the_census_counts_what_is_pending(self) -> None:
        for make in (factories.approval, factories.approval, factories.clarification):
            make(timeout=3600.0)
        overdue = factories.approval(timeout=3600.0)
        _set_deadline(overdue, 50)
        decided = factories.approval()
        HumanRequest.writing.filter(pk=overdue).update(opened_at=Now() - timedelta(seconds=100))
        deciding.decide(factories.actor(factories.reviewer()), decided, "reject")
        found = count_pending()
        assert found.pending == {"approval": 3, "clarification": 1}
        assert found.overdue == 1
        assert 50 <= found.most_overdue < 90
        assert 100 <= found.oldest < 140

    @pytest.mark.one_stack
    def test_what_waits_to_be_told_is_counted_and_how_late_it_is(self, settings: Settings) -> None:
        assert (count_notifications().waiting, count_notifications().late) == (0, 0.0)
        settings.SAYSO_NOTIFY = "on"
        row = told("Refund", assignees=[factories.user()])
        Notification.writing.update(due_at=row.created_at - timedelta(seconds=50))
        found = count_notifications()
        assert found.waiting == 1
        assert 50 <= found.late < 90

    @pytest.mark.stacks("postgresql-redis")
    def test_history_makes_the_census_no_dearer(self) -> None:
        """Pending requests are found by partial indexes; what is closed is not looked at."""
        pending = HumanRequest.objects.filter(status="pending").order_by()
        plans = [
            plan_of(pending.filter(deadline__lte=database_now()).order_by("deadline", "id"), "seqscan"),
            plan_of(pending.order_by("opened_at", "id"), "seqscan"),
        ]
        assert all("Index" in plan for plan in plans), plans


@pytest.fixture
def program(server: Server) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {_token(factories.reviewer())}"}
    with httpx.Client(base_url=f"{server.url}/api/v1", headers=headers, timeout=patience()) as client:
        yield client


@pytest.mark.django_db
class TestServed:
    def test_what_it_says_is_what_happened(self, server: Server, program: httpx.Client) -> None:
        until_ready(server)
        body = {"kind": "approval", "title": "Refund"}
        ids = [program.post("/requests", json=body).json()["id"] for _ in range(3)]
        for request_id, decision in zip(ids, ("approve", "reject"), strict=False):
            program.post(f"/requests/{request_id}/decision", json={"decision": decision})
        assert program.post(f"/requests/{ids[0]}/decision", json={"decision": "reject"}).status_code == 409
        told = numbers(server)
        for outcome in ("approved", "rejected"):
            assert told[labelled("sayso_decisions_total", outcome=outcome, channel="api")] == 1
        assert told[labelled("sayso_requests_opened_total", kind="approval")] == 3
        assert told[labelled("sayso_pending_requests", kind="approval")] == 1
        assert told[labelled("sayso_pending_requests", kind="clarification")] == 0
        assert told[labelled("sayso_http_refusals_total", code="already_decided")] == 1
        assert told[labelled("sayso_database_up")] == 1
        assert told[labelled("sayso_writer_queue_length")] == 0
        assert told[labelled("process_resident_memory_bytes")] > 0

    @pytest.mark.one_stack
    async def test_runs_are_told_by_status(self, server: Server) -> None:
        owner = await in_database(factories.user)
        given = {"title": "Release", "items": ["Tests are green"]}
        run_id = await in_database(OrchestrationManager().start, "checklist", given, owner)
        (request,) = await in_database(_asked_by, str(run_id))
        told = await in_database(_when_waiting, server)
        assert told[labelled("sayso_runs", status="waiting")] == 1
        assert told[labelled("sayso_runs_executing")] == 1
        await deciding.adecide(factories.actor(owner), request.pk, "approve")
        told = await in_database(_when_idle, server)
        assert told[labelled("sayso_runs_ended_total", status="completed")] == 1
        assert told[labelled("sayso_resume_seconds_count")] == 1

    @pytest.mark.one_stack
    def test_programs_that_ask_for_it_get_openmetrics(self, server: Server) -> None:
        answer = asked(server, "/metrics", accept="application/openmetrics-text; version=1.0.0")
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.text.endswith("# EOF\n")

    @pytest.mark.stacks("postgresql-redis")
    def test_a_worker_tells_its_own_where_it_is_told_to(self, stack: Stack, manage: Manage) -> None:
        port = str(free_port())
        environment = stack.environment | {"SAYSO_ENGINE": "procrastinate"}
        worker = manage("work", "--metrics", port, environment=environment)
        worker.output.wait_for("works on up to")
        told = parsed(httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=patience(), trust_env=False).text)
        assert told[labelled("sayso_runs_executing")] == 0
        assert told[labelled("sayso_waits")] == 0
        assert told[labelled("process_resident_memory_bytes")] > 0
        second = manage("work", "--metrics", port, environment=environment)
        assert second.wait() != 0
        assert f"Cannot listen on 127.0.0.1:{port}" in second.output.text
        assert worker.terminate() == 0

    @pytest.mark.stacks("postgresql-redis")
    def test_jobs_are_told_where_workers_execute_runs(self, stack: Stack, serve: Serve) -> None:
        server = serve(SAYSO_ENGINE="procrastinate")
        given = {"title": "Release", "items": ["Tests are green"]}
        started = httpx.post(
            f"{server.url}/api/v1/runs",
            json={"orchestration": "checklist", "input": given},
            headers={"authorization": f"Bearer {_token(factories.user(may=('add_run',)))}"},
            trust_env=False,
            timeout=patience(),
        )
        assert started.status_code == 201, started.text
        told = numbers(server)
        assert told[labelled("sayso_jobs", status="todo")] == 1
        assert told[labelled("sayso_jobs", status="doing")] == 0
        assert told[labelled("sayso_runs", status="queued")] == 1

    def test_without_its_database_a_process_still_tells_its_own(
        self, private_postgres: PostgresServer, serve: Serve
    ) -> None:
        server = serve()
        until_ready(server)
        private_postgres.freeze()
        numbers(server)
        told = numbers(server)
        assert told[labelled("sayso_database_up")] == 0
        assert server.output.text.count("sayso-metrics failed") == 1, "why is logged, once"
        assert labelled("sayso_pending_requests", kind="approval") not in told
        assert labelled("sayso_waits") in told
        private_postgres.thaw()
        until_ready(server)

    @pytest.mark.stacks("sqlite-redis")
    def test_a_listener_that_had_to_begin_again_is_counted(
        self, private_redis: RedisServer, serve: Serve
    ) -> None:
        server = serve(SAYSO_RECHECK_INTERVAL="1")
        until_ready(server)
        assert numbers(server)[labelled("sayso_listener_reconnects_total")] == 0
        private_redis.stop()
        private_redis.start()
        while not numbers(server)[labelled("sayso_listener_reconnects_total")]:
            server.wait_briefly(0.1)
        until_ready(server)


def _token(person: User) -> str:
    _, secret = tokens.issue(person.pk, "agent", ["ask", "decide", "read"])
    return secret


def _when_waiting(server: Server) -> Numbers:
    """Once its run waits, in the process and on record: both some time after its request is."""
    waiting = (labelled("sayso_waits"), labelled("sayso_runs", status="waiting"))
    while not all((told := numbers(server))[each] for each in waiting):
        server.wait_briefly(0.1)
    return told


def _when_idle(server: Server) -> Numbers:
    while (told := numbers(server))[labelled("sayso_runs_executing")]:
        server.wait_briefly(0.1)
    return told


def _asked_by(run_id: str) -> list[HumanRequest]:
    """What this run has asked, once it has."""
    while not (found := list(HumanRequest.objects.filter(origin_id=run_id))):
        database_now()
    return found


@pytest.mark.django_db
@pytest.mark.one_stack
class TestAccess:
    def test_a_program_on_this_computer_may_read(self) -> None:
        response = Client(headers={"host": "localhost"}).get("/metrics")
        assert response.status_code == 200
        assert parsed(response.content.decode())[labelled("sayso_database_up")] == 1

    @pytest.mark.parametrize(
        ("peer", "headers"),
        [
            ("192.0.2.1", {}),
            ("", {}),
            ("127.0.0.1", {"x-forwarded-for": "127.0.0.1"}),
            ("127.0.0.1", {"forwarded": "for=127.0.0.1"}),
            ("127.0.0.1", {"x-forwarded-proto": "https"}),
            ("127.0.0.1", {"host": "sayso.example"}),
        ],
    )
    def test_others_may_not_also_through_a_proxy_on_this_computer(
        self, peer: str, headers: dict[str, str], settings: Settings
    ) -> None:
        settings.ALLOWED_HOSTS = ["localhost", "sayso.example"]
        client = Client(headers={"host": "localhost", **headers}, REMOTE_ADDR=peer)
        response = client.get("/metrics")
        assert response.status_code == 401
        assert b"sayso_" not in response.content
        assert response.headers["WWW-Authenticate"].startswith("Bearer")

    def test_with_a_token_its_bearers_may_and_nobody_else(self, settings: Settings) -> None:
        settings.SAYSO_METRICS_TOKEN = TOKEN
        statuses = {
            shown: Client(
                headers={"host": "localhost", **({"authorization": shown} if shown else {})},
                REMOTE_ADDR="127.0.0.1",
            )
            .get("/metrics")
            .status_code
            for shown in ("", f"Bearer {TOKEN}", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer ", "Bearer é")
        }
        assert {shown for shown, status in statuses.items() if status == 200} == {f"Bearer {TOKEN}"}

    def test_staff_may(self) -> None:
        for person, status in ((factories.user(is_staff=True), 200), (factories.user(), 401)):
            client = Client(headers={"host": "localhost"}, REMOTE_ADDR="192.0.2.1")
            client.force_login(person)
            assert client.get("/metrics").status_code == status


def test_names_keep_to_the_conventions() -> None:
    for family in REGISTRY.collect():
        assert family.name.startswith(("sayso_", "process_", "python_"))
        assert family.documentation.endswith(".") or not family.name.startswith("sayso_")
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name.endswith(("_total", "_created"))
