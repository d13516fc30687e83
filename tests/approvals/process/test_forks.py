"""A process that has asked may fork: its children ask as well, and nothing of the parent's is disturbed."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from approvals.models import AuditEntry, HumanRequest
from approvals.process import forks
from approvals.web.edge import tokens
from orchestration.engines import leases
from orchestration.models import Process as Executor
from tests import factories as make
from tests.approvals.process.forking import CHILDREN, WRITES
from tests.marks import both_databases
from tests.processes import Process, ProcessEnded, free_port, told_at_once
from tests.stacks import Stack

pytestmark = pytest.mark.processes


@contextmanager
def program(stack: Stack, *arguments: str) -> Iterator[Process]:
    command = [sys.executable, "-m", "tests.approvals.process.forking", *arguments]
    with Process(command, environment=told_at_once(stack.environment), name=arguments[0]) as process:
        yield process


def said(stack: Stack, *arguments: str) -> Any:
    with program(stack, *arguments) as process:
        assert process.wait(90) == 0, process.output.text
        # Threads that are cut off as the interpreter ends may still log something after it.
    told = [line for line in process.output.text.splitlines() if line.startswith(("{", "["))]
    return json.loads(told[-1])


@pytest.mark.django_db
@both_databases
def test_children_of_multiprocessing_ask_wait_and_decide(stack: Stack) -> None:
    """Forked while the parent's writer, database threads, waiting room and a wait were there; no connection
    to SQLite came along. The parent's wait ends, and it asks again."""
    report = said(stack, "children")
    assert report["children"] == [[number, "approved", "approved", None, 0] for number in range(CHILDREN)]
    assert report["exit"] == [0] * CHILDREN
    assert (report["waited"], report["again"]) == ("approved", "approved")
    assert set(HumanRequest.objects.values_list("status", flat=True)) == {"approved", "pending"}


@pytest.mark.django_db
@both_databases
def test_what_was_handed_over_is_written_once_by_the_parent(stack: Stack) -> None:
    report = said(stack, "writes")
    assert report["statuses"] == [0] * (WRITES // 100)
    assert HumanRequest.objects.count() == WRITES + WRITES // 100
    assert AuditEntry.objects.count() == HumanRequest.objects.count()


@pytest.mark.django_db
def test_a_coroutine_may_fork(stack: Stack) -> None:
    assert said(stack, "loop") == ["approved"] * 3


@pytest.mark.django_db
@pytest.mark.one_stack
def test_a_child_is_no_sign_of_life_of_its_parent(stack: Stack) -> None:
    """What the parent executed is taken over at once when it dies, though its child lives on."""
    with program(stack, "lease") as parent:
        owner = Executor.objects.get(pk=parent.output.wait_for("\n").strip())
        leases.end_dead_leases()
        owner.refresh_from_db()
        assert owner.released_at is None
        parent.signal(signal.SIGKILL)
        with pytest.raises(ProcessEnded):
            parent.output.wait_for("anything")
        leases.end_dead_leases()
        owner.refresh_from_db()
        assert owner.released_at is not None


@pytest.mark.django_db
@both_databases
def test_workers_of_a_pre_forking_server_hold_answers_until_somebody_decides(stack: Stack) -> None:
    """The server asked before it forked; each of its workers takes requests, waits and wakes."""
    rita = make.reviewer("rita")
    token = tokens.issue(rita.pk, "test", ["ask", "decide", "read"])[1]
    port = free_port()
    with program(stack, "server", str(port)) as server:
        server.output.wait_for("serving")
        headers = {"Authorization": f"Bearer {token}"}
        with (
            httpx.Client(
                base_url=f"http://127.0.0.1:{port}/api/v1", headers=headers, timeout=60, trust_env=False
            ) as client,
            ThreadPoolExecutor(6) as callers,
        ):
            asked = [ask(client, number) for number in range(6)]
            waits = [callers.submit(wait, client, each) for each in asked]
            for each in asked:
                assert (
                    client.post(f"/requests/{each}/decision", json={"decision": "approve"}).status_code == 200
                )
            assert [each.result(60) for each in waits] == ["approved"] * 6


def ask(client: httpx.Client, number: int) -> str:
    answer = client.post("/requests", json={"kind": "approval", "title": f"Refund {number}"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def wait(client: httpx.Client, request_id: str) -> str:
    answer = client.get(f"/requests/{request_id}/outcome", params={"wait": 60})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["status"])


class TestActivity:
    def test_a_pause_waits_for_who_is_at_it_and_keeps_others_from_beginning(self) -> None:
        activity = forks.Activity()
        begun, end, paused = threading.Event(), threading.Event(), threading.Event()
        done: list[str] = []

        def work() -> None:
            with activity:
                begun.set()
                end.wait(30)
                with activity:
                    done.append("first")

        def next_work() -> None:
            with activity:
                done.append("next")

        def pause() -> None:
            assert activity.pause()
            done.append("pause")
            paused.set()

        first, pausing = threading.Thread(target=work), threading.Thread(target=pause)
        first.start()
        begun.wait(30)
        pausing.start()
        end.set()
        assert paused.wait(30)
        following = threading.Thread(target=next_work)
        following.start()
        assert done == ["first", "pause"]
        activity.resume()
        for thread in (first, pausing, following):
            thread.join(30)
        assert done == ["first", "pause", "next"]

    def test_who_pauses_does_not_wait_for_itself(self) -> None:
        activity = forks.Activity()
        with activity:
            assert activity.pause()
            activity.resume()

    def test_patience_is_bounded(self) -> None:
        """A fork can't be refused."""
        activity = forks.Activity()
        with ThreadPoolExecutor(1) as other:
            other.submit(activity.__enter__).result(30)
            assert not activity.pause(patience=0)
            activity.resume()
            other.submit(activity.__exit__).result(30)
