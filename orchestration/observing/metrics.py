"""`/metrics` for Prometheus: the counts of this process, and what is in the database now.

Each process has counts of its own, which Prometheus adds up. The numbers of the database are the same from
every process; they are read for each request, and left out if the database does not answer in time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from ipaddress import ip_address
from itertools import chain

from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from approvals.process import forks, telemetry
from approvals.queries.lookups import (
    PendingCounts,
    WaitingNotifications,
    count_notifications,
    count_pending,
)
from approvals.queries.preferences import count_failing
from approvals.web.edge.credentials import bearer_secret
from orchestration import queries as runs
from orchestration.conf import PROCRASTINATE, orchestration_settings
from orchestration.observing.background_check import BackgroundCheck

# Headers that a proxy adds.
_PASSED_ON = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")


@require_safe
@never_cache
async def metrics(request: HttpRequest) -> HttpResponse:
    if not await _may_read(request):
        return HttpResponse(
            "Send the token of SAYSO_METRICS_TOKEN as a bearer token, or log in as staff.\n",
            content_type="text/plain",
            status=HTTPStatus.UNAUTHORIZED,
            headers={"WWW-Authenticate": 'Bearer realm="Sayso metrics"'},
        )
    encoded, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encoded(_registry(await _read())), content_type=content_type)


# Who may read


async def _may_read(request: HttpRequest) -> bool:
    if token := orchestration_settings().metrics_token:
        shown = bearer_secret(request.headers.get("Authorization", ""))
        if shown and constant_time_compare(shown, token):
            return True
    elif _is_from_this_computer(request):
        return True
    user = await request.auser()
    return bool(user.is_active and getattr(user, "is_staff", False))


def _is_from_this_computer(request: HttpRequest) -> bool:
    """Tell whether a program on this computer asks, and not a proxy on it for somebody else."""
    if any(name in request.headers for name in _PASSED_ON):
        return False
    host, _ = split_domain_port(request.get_host())
    return _is_loopback(request.META.get("REMOTE_ADDR", "")) and (host == "localhost" or _is_loopback(host))


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


# What there is


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """The numbers of the database."""

    requests: PendingCounts
    notifications: WaitingNotifications
    failing: int
    runs: Mapping[str, int]
    jobs: Mapping[str, int] | None


async def _read() -> _Stored | None:
    try:
        return await _probe().result()
    except Exception:  # noqa: BLE001  a metric says so, and the check has logged it
        return None


@cache
def _probe() -> BackgroundCheck[_Stored]:
    return BackgroundCheck("sayso-metrics", _read_database)


forks.register(_probe.cache_clear)


def _read_database() -> _Stored:
    try:
        return _Stored(
            requests=count_pending(),
            notifications=count_notifications(),
            failing=count_failing(),
            runs=runs.open_by_status(),
            jobs=_jobs(),
        )
    finally:
        connections.close_all()  # this thread's


def _jobs() -> Mapping[str, int] | None:
    if orchestration_settings().engine != PROCRASTINATE:
        return None
    from orchestration.engines import jobs

    return jobs.counts_by_status()


def _registry(stored: _Stored | None) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Numbers(stored))
    return registry


class _Numbers(Collector):
    def __init__(self, stored: _Stored | None) -> None:
        self._stored = stored

    def collect(self) -> Iterable[Metric]:
        return chain(telemetry.process_registry().collect(), _of_the_database(self._stored))


def _of_the_database(stored: _Stored | None) -> Iterator[Metric]:
    yield _gauge("sayso_database_up", "Whether the database answered for this reading.", stored is not None)
    if stored is None:
        return
    requests = stored.requests
    yield _by("sayso_pending_requests", "Requests that wait for a decision.", "kind", requests.pending)
    yield _gauge(
        "sayso_oldest_pending_seconds", "Age of the oldest pending request; 0 without one.", requests.oldest
    )
    yield _gauge("sayso_overdue_requests", "Pending requests past their deadline.", requests.overdue)
    yield _gauge("sayso_overdue_seconds", "By how much the most overdue one is late.", requests.most_overdue)
    told = stored.notifications
    yield _gauge("sayso_notifications_waiting", "Messages to people that wait to be sent.", told.waiting)
    yield _gauge("sayso_notifications_late_seconds", "By how much the first of them is late.", told.late)
    yield _gauge("sayso_destinations_failing", "Addresses that could not be reached last.", stored.failing)
    yield _by("sayso_runs", "Runs that have not ended.", "status", stored.runs)
    if stored.jobs is not None:
        yield _by("sayso_jobs", "Runs in the job queue.", "status", stored.jobs)


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=float(value))


def _by(name: str, meaning: str, label: str, numbers: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for value, number in numbers.items():
        family.add_metric([value], number)
    return family
