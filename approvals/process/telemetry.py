"""Metrics for Prometheus, spans for OpenTelemetry, and ids in log lines.

Unused, they cost next to nothing. Nothing of Django is imported here, so any module may use it.
docs/observability.md explains each name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import TracebackType
from typing import Any, ClassVar, Self

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)
from structlog.contextvars import bound_contextvars

from approvals.process import forks

log = logging.getLogger(__name__)

# Metrics

REGISTRY = CollectorRegistry()

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LATE = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
_SETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(name, meaning, labels, registry=REGISTRY)


def _histogram(name: str, meaning: str, buckets: Sequence[float]) -> Histogram:
    return Histogram(name, meaning, registry=REGISTRY, buckets=buckets)


opened = _counter("sayso_requests_opened_total", "Requests that this process opened.", "kind")
decisions = _counter("sayso_decisions_total", "Requests that this process closed.", "outcome", "channel")
timeouts = _counter("sayso_timeouts_total", "Timeouts that this process recorded.", "effect")
refusals = _counter("sayso_refusals_total", "Commands that this process's writer refused.", "code")
lateness = _histogram(
    "sayso_deadline_lateness_seconds", "From a deadline until its timeout was recorded.", _LATE
)
resumed = _histogram("sayso_resume_seconds", "From the closing of a request until its waiter ran.", _QUICK)
batch_size = _histogram("sayso_writer_batch_size", "Commands written in one transaction.", _SETS)
batch_seconds = _histogram("sayso_writer_batch_seconds", "Duration of the writer's transactions.", _QUICK)
writer_full = _counter("sayso_writer_full_total", "Commands that the writer's full queue did not take.")
reconnects = _counter("sayso_listener_reconnects_total", "How often the listener heard again.")
hints = _counter("sayso_hints_total", "Ids that others should have been told of.", "fate")
sockets = Gauge("sayso_sockets", "WebSockets that are open here.", registry=REGISTRY)
notifications = _counter("sayso_notifications_total", "Attempts to tell people, by what became.", "fate")
http_refusals = _counter("sayso_http_refusals_total", "Calls of the API that were refused.", "code")
waits = Gauge("sayso_waits", "Waits in this process.", registry=REGISTRY)
queue_length = Gauge("sayso_writer_queue_length", "Commands that wait for the writer.", registry=REGISTRY)
executing = Gauge("sayso_runs_executing", "Runs that this process executes.", registry=REGISTRY)
unknown_runs = Gauge(
    "sayso_unknown_runs",
    "Open runs of orchestrations that this process does not know, and leaves alone.",
    ("orchestration", "version"),
    registry=REGISTRY,
)
runs_ended = _counter("sayso_runs_ended_total", "Runs whose end this process recorded.", "status")


def _reset_gauges() -> None:
    sockets.set(0)
    executing.set(0)


forks.register(_reset_gauges)

# Labels that are known beforehand are exported with zero.
for effect in ("approve", "reject", "default"):
    timeouts.labels(effect)
for fate in ("sent", "dropped"):
    hints.labels(fate)


@cache
def process_registry() -> CollectorRegistry:
    """Return all metrics, including those of the process: CPU, memory, open files."""
    ProcessCollector(registry=REGISTRY)
    PlatformCollector(registry=REGISTRY)
    return REGISTRY


def serve_metrics(host: str, port: int) -> Callable[[], None]:
    """Serve `/metrics` from a thread until the returned function is called.

    For processes that have no web server. OSError if the address can't be used.
    """
    server, thread = start_http_server(port, host, process_registry())

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


# Ids


def bind_ids(**ids: object) -> AbstractContextManager[None]:
    """Put these ids into the log lines of this task, and of tasks that it starts meanwhile."""
    return bound_contextvars(**{name: str(each) for name, each in ids.items()})


# Spans


class Span(AbstractContextManager["Span"]):
    """A span from `with` to its end. This class records nothing."""

    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def note(self, **attributes: object) -> None:
        """Add attributes to the span."""


class _OpenTelemetrySpan(Span):
    """A span of OpenTelemetry. Of an error it records the class only: texts may hold secrets."""

    __slots__ = ("_current", "_span")
    # The process's own, as OpenTelemetry's provider is.
    tracer: ClassVar[Any] = None

    def __init__(self, name: str, attributes: Mapping[str, object], links: Iterable[Any]) -> None:
        from opentelemetry.trace import Link

        self._current = self.tracer.start_as_current_span(
            name,
            attributes=_attributes(attributes),
            links=[Link(each) for each in links],
            record_exception=False,
            set_status_on_exception=False,
        )

    def __enter__(self) -> Self:
        self._span = self._current.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            from opentelemetry.trace import StatusCode

            self._span.set_status(StatusCode.ERROR)
            self._span.set_attribute("error.type", kind.__name__)
        self._current.__exit__(kind, error, trace)

    def note(self, **attributes: object) -> None:
        self._span.set_attributes(_attributes(attributes))


def span(name: str, /, links: Iterable[Any] = (), **attributes: object) -> Span:
    """Open a span. `links` are spans, from `current_span`, that the work is done for."""
    return _SILENT if _OpenTelemetrySpan.tracer is None else _OpenTelemetrySpan(name, attributes, links)


def current_span() -> Any:
    """Return the current span of this task or thread, to be linked to, if there is one."""
    if _OpenTelemetrySpan.tracer is None:
        return None
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    return context if context.is_valid else None


@contextmanager
def continue_trace(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[None]:
    """Make spans part of the trace that a caller's headers name."""
    if _OpenTelemetrySpan.tracer is None:
        yield
        return
    from opentelemetry import context, propagate

    carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    token = context.attach(propagate.extract(carrier))
    try:
        yield
    finally:
        context.detach(token)


def start_tracing(exporters: Sequence[str]) -> None:
    """Record spans with OpenTelemetry, if there are exporters.

    An existing provider is used; otherwise the SDK is set up with these exporters. All other options are the
    SDK's environment variables, OTEL_*.
    """
    if not exporters or _OpenTelemetrySpan.tracer is not None:
        return
    try:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
    except ImportError:
        log.warning("no spans reason=%s", "the extra `telemetry` is not installed")
        return
    if not isinstance(provider := trace.get_tracer_provider(), TracerProvider):
        provider = _provider(exporters)
        trace.set_tracer_provider(provider)
    set_tracer_provider(provider)


def set_tracer_provider(provider: Any) -> None:
    """Send spans to this OpenTelemetry provider; None: nowhere."""
    _OpenTelemetrySpan.tracer = None if provider is None else provider.get_tracer("sayso")


def _provider(exporters: Sequence[str]) -> Any:
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "sayso"}))
    provider = TracerProvider(resource=resource)
    for name in exporters:
        if (exporter := _exporter(name)) is None:
            log.warning("spans not exported exporter=%s reason=%s", name, "it is not installed")
        else:
            provider.add_span_processor(BatchSpanProcessor(exporter.load()()))
    return provider


def _exporter(name: str) -> EntryPoint | None:
    """Return the exporter of this name; `otlp` is whichever of its two packages is installed."""
    names = ("otlp_proto_http", "otlp_proto_grpc") if name == "otlp" else (name,)
    found = (entry_points(group="opentelemetry_traces_exporter", name=each) for each in names)
    return next((entry for entries in found for entry in entries), None)


def _attributes(given: Mapping[str, object]) -> dict[str, Any]:
    return {
        f"sayso.{name}": value if isinstance(value, bool | int | float) else str(value)
        for name, value in given.items()
    }


_SILENT = Span()
