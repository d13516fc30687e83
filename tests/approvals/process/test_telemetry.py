"""Spans tell what went on and for whom; nobody who does without OpenTelemetry pays for them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from structlog.contextvars import get_contextvars

from approvals import deciding, gate
from approvals.database.threads import in_database
from approvals.exceptions import StillPending, UnknownRequest
from approvals.process import telemetry
from approvals.waiting.waiting_room import waiting_room
from orchestration import OrchestrationManager, Run, orchestration
from orchestration.runtime import start_runtime, stop_runtime
from tests import factories
from tests.conftest import Serve
from tests.looking import until
from tests.orchestration.watching import asked, finished
from tests.processes import PROJECT, bare_environment

PARENT = "0af7651916cd43dd8448eb211c80319c"


class Spans:
    """What has ended so far."""

    def __init__(self) -> None:
        self._kept = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._kept))

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._kept.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span


@pytest.fixture
def spans() -> Iterator[Spans]:
    spans = Spans()
    telemetry.set_tracer_provider(spans.provider)
    yield spans
    telemetry.set_tracer_provider(None)
    spans.provider.shutdown()


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    return {name.removeprefix("sayso."): value for name, value in (span.attributes or {}).items()}


def trace_of(span: ReadableSpan) -> int:
    assert span.context
    return int(span.context.trace_id)


@pytest.mark.one_stack
@pytest.mark.django_db
class TestDeciding:
    def test_a_decision_tells_its_request_and_outcome(self, spans: Spans) -> None:
        request_id = factories.approval()
        deciding.decide(factories.actor(factories.reviewer()), request_id, "approve")
        assert attributes(spans.one("sayso.decide")) == {
            "request": request_id,
            "channel": "page",
            "outcome": "approved",
        }

    async def test_the_writer_links_to_those_it_writes_for(self, spans: Spans) -> None:
        """The transaction of many is part of nobody's trace."""
        request_id = await in_database(factories.clarification)
        reviewer = await in_database(factories.reviewer)
        await deciding.aanswer(factories.actor(reviewer), request_id, "1200")
        decided, written = spans.one("sayso.decide"), spans.named("sayso.write")[-1]
        assert [link.context for link in written.links] == [decided.context]
        assert written.parent is None
        assert attributes(written) == {"commands": 1}

    def test_an_error_is_told_by_its_class_alone(self, spans: Spans) -> None:
        with pytest.raises(UnknownRequest):
            deciding.decide(factories.actor(factories.reviewer()), "a secret", "approve")
        span = spans.one("sayso.decide")
        assert span.status.status_code is StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == "UnknownRequest"
        assert not span.events


@pytest.mark.one_stack
@pytest.mark.django_db
class TestWaiting:
    async def test_a_wait_is_a_span_from_its_beginning_to_its_end(self, spans: Spans) -> None:
        room = waiting_room()
        await room.start()
        try:
            request_id = await in_database(factories.approval)
            with pytest.raises(StillPending):
                await gate.wait_for_outcome(request_id, patience=0)
            waiting = asyncio.create_task(gate.wait_for_outcome(request_id))
            await until(lambda: len(room))
            await gate.withdraw(request_id, "no longer needed")
            await waiting
        finally:
            await room.stop()
        impatient, patient = spans.named("sayso.wait")
        assert impatient.status.status_code is StatusCode.ERROR
        assert attributes(patient) == {"request": request_id, "outcome": "withdrawn"}

    async def test_waits_and_steps_of_a_run_are_parts_of_it(self, spans: Spans) -> None:
        """Also in the threads of synchronous steps, whose log lines carry the run's id."""
        known: list[Any] = []

        def deed() -> None:
            known.append(get_contextvars())
            with telemetry.span("deed"):
                pass

        @orchestration("traced")
        async def traced(run: Run) -> None:
            await run.approve("Go on?")
            await run.step("deed", deed)

        runtime = await start_runtime()
        try:
            await runtime.host.ready()
            owner = await in_database(factories.user)
            run_id = await in_database(OrchestrationManager().start, "traced", {}, owner)
            await deciding.adecide(factories.actor(owner), (await asked(run_id))["id"], "approve")
            await finished(run_id)
            await until(lambda: spans.named("sayso.run"))  # it ends a moment after its run
        finally:
            await stop_runtime()
        run, step = spans.one("sayso.run"), spans.one("sayso.step")
        assert attributes(run) == {
            "run": str(run_id),
            "orchestration": "traced",
            "epoch": 1,
            "status": "completed",
        }
        assert attributes(step) == {"run": str(run_id), "step": "deed#2", "name": "deed", "attempt": 1}
        parts = [spans.one("sayso.wait"), step, spans.one("deed")]
        assert {trace_of(part) for part in parts} == {trace_of(run)}
        assert known == [{"run": str(run_id)}]


class TestTracing:
    def test_a_callers_trace_is_continued(self, spans: Spans) -> None:
        headers = [(b"traceparent", f"00-{PARENT}-b7ad6b7169203331-01".encode())]
        with telemetry.continue_trace(headers), telemetry.span("inside"):
            pass
        with telemetry.span("outside"):
            pass
        assert f"{trace_of(spans.one('inside')):032x}" == PARENT
        assert trace_of(spans.one("outside")) != trace_of(spans.one("inside"))

    def test_without_anybody_who_listens_there_is_one_silent_span(self) -> None:
        with telemetry.span("one", request=1) as first, telemetry.span("two") as second:
            first.note(outcome="approved")
        assert first is second
        assert telemetry.current_span() is None

    @pytest.mark.processes
    def test_nothing_of_opentelemetry_is_loaded_then(self) -> None:
        code = (
            "import sys; from approvals.process import telemetry; telemetry.start_tracing(());"
            "telemetry.span('one').__enter__().note(outcome='approved');"
            "print([name for name in sys.modules if name.startswith('opentelemetry')])"
        )
        command = [sys.executable, "-c", code]
        shown = subprocess.run(
            command, cwd=PROJECT, env=bare_environment(), capture_output=True, text=True, check=True
        )
        assert shown.stdout.strip() == "[]"

    @pytest.mark.django_db
    @pytest.mark.one_stack
    def test_a_server_exports_where_its_environment_says(self, serve: Serve) -> None:
        server = serve(OTEL_TRACES_EXPORTER="console", OTEL_BSP_SCHEDULE_DELAY="10")
        request_id = factories.approval(timeout=0.2)
        server.output.wait_for('"sayso.commands": 1')
        shown = server.output.text
        assert '"service.name": "sayso"' in shown
        assert request_id not in shown  # nothing of it was decided or waited for there

    @pytest.mark.django_db
    @pytest.mark.one_stack
    def test_an_exporter_that_is_not_installed_is_a_warning(self, serve: Serve) -> None:
        server = serve(OTEL_TRACES_EXPORTER="nowhere")
        server.output.wait_for("spans not exported exporter=nowhere")
