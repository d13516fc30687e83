"""Liveness and readiness of this process; readiness checks each part by itself.

Live: the event loop runs; nothing else is checked. Ready: what is sent now would be recorded, and waiters
would be woken. Reasons are our own words, because the texts of other errors may contain secrets.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import cache, partial
from time import monotonic

from django.db import Error as DatabaseError
from django.db import connection, connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from approvals import queries
from approvals.conf import approval_settings
from approvals.database import triggers
from approvals.process import forks, hints
from approvals.waiting.deadlines import LONGEST_SLEEP
from approvals.waiting.supervisor import Health
from approvals.waiting.waiting_room import waiting_room
from orchestration import catalog
from orchestration.observing.background_check import PATIENCE, BackgroundCheck, FailureLog
from orchestration.observing.write_check import WriteCheck
from orchestration.runtime import running_runtime

log = logging.getLogger(__name__)

# Seconds after a deadline within which some process should have recorded the timeout.
IN_TIME = 15.0
# Seconds that a part may be late before it counts as silent.
SLACK = 10.0

_NO_ANSWER = f"no answer within {PATIENCE:g} s"
_UNKNOWN = "unknown while the database does not answer"

# What is wrong; None if nothing is.
Fault = str | None
Faults = Mapping[str, Fault]


@require_safe
@never_cache
async def live(request: HttpRequest) -> HttpResponse:
    return HttpResponse("alive\n", content_type="text/plain")


@require_safe
@never_cache
async def ready(request: HttpRequest) -> HttpResponse:
    faults = await _readiness().faults()
    checks = {
        name: {"ok": True} if fault is None else {"ok": False, "reason": fault}
        for name, fault in faults.items()
    }
    is_ready = not any(faults.values())
    answer = {"ready": is_ready, "checks": checks, **_unknown_to_this_process()}
    return JsonResponse(answer, status=200 if is_ready else 503)


class Readiness:
    """Checks what this process needs to work. Can be awaited from any loop."""

    def __init__(self) -> None:
        self._database: BackgroundCheck[Faults] = BackgroundCheck(
            "sayso-health-database", partial(_database, WriteCheck())
        )
        self._layer: BackgroundCheck[None] = BackgroundCheck("sayso-health-layer", _send_through_layer)
        self._unready: frozenset[str] = frozenset()

    async def faults(self) -> Faults:
        """Return the fault of each check, or None, within little more than two seconds."""
        database, layer = await asyncio.gather(self._faults_of_database(), self._fault_of_layer())
        faults = {**database, "channel_layer": layer, **_faults_of_this_process()}
        self._tell_changes(frozenset(name for name, fault in faults.items() if fault))
        return faults

    async def _fault_of_layer(self) -> Fault:
        try:
            await self._layer.result()
        except TimeoutError:
            return _NO_ANSWER
        except Exception:  # noqa: BLE001  Layers raise what they like; the check has logged it.
            return "cannot send"
        return None

    async def _faults_of_database(self) -> Faults:
        try:
            return await self._database.result()
        except TimeoutError:
            fault = _NO_ANSWER
        except DatabaseError:
            fault = "cannot be asked"
        except Exception:  # noqa: BLE001  the check has logged it
            fault = "cannot be looked at"
        unknown = dict.fromkeys(("writes", "migrations", "audit_triggers", "deadlines"), _UNKNOWN)
        return {"database": fault, **unknown}

    def _tell_changes(self, unready: frozenset[str]) -> None:
        if unready == self._unready:
            return
        self._unready = unready
        if unready:
            log.warning("not ready checks=%s", ",".join(sorted(unready)))
        else:
            log.info("ready again")


@cache
def _readiness() -> Readiness:
    return Readiness()


forks.register(_readiness.cache_clear)


# The database: all checks together, on a thread and a connection of their own


def _database(writing: WriteCheck) -> Faults:
    try:
        connection.ensure_connection()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return {
            "database": None,
            "writes": writing.fault(),
            "migrations": _run_check(_migrations),
            "audit_triggers": _run_check(_triggers),
            "deadlines": _run_check(_deadlines),
        }
    finally:
        connections.close_all()  # this thread's


def _run_check(check: Callable[[], Fault]) -> Fault:
    try:
        with _log_of(check.__name__.strip("_")).watch():
            return check()
    except DatabaseError:
        return "cannot be asked"


@cache
def _log_of(check: str) -> FailureLog:
    return FailureLog(f"check {check}")


def _migrations() -> Fault:
    applied = MigrationRecorder(connection).applied_migrations().keys()
    settled = set(applied)
    for name, replaces in _migrations_that_ship().items():
        # It stands for those that it replaces if none of them is applied; else they go on by themselves.
        settled |= {name} if replaces & applied else replaces
    pending = _migrations_that_ship().keys() - settled
    return f"{len(pending)} not applied" if pending else None


@cache
def _migrations_that_ship() -> Mapping[tuple[str, str], frozenset[tuple[str, str]]]:
    """List all migrations, each with those that it replaces."""
    loader = MigrationLoader(None)
    return {
        name: frozenset((app, replaced) for app, replaced in migration.replaces)
        for name, migration in loader.disk_migrations.items()
    }


def _triggers() -> Fault:
    faults = triggers.faults(connection)
    return f"{len(faults)} missing or changed: audit entries could be changed" if faults else None


def _deadlines() -> Fault:
    earliest, now = queries.next_due()
    late = 0.0 if earliest is None else (now - earliest).total_seconds()
    return f"a timeout or an escalation is late by {late:.0f} s" if late > IN_TIME else None


# The channel layer


def _send_through_layer() -> None:
    asyncio.run(_send_to_nobody())


async def _send_to_nobody() -> None:
    layer = hints.make_layer()
    async with asyncio.timeout(PATIENCE):
        await layer.group_send("sayso.health", {"type": "sayso.nothing"})


# Reported, but ready all the same: other processes execute these runs


def _unknown_to_this_process() -> dict[str, object]:
    runtime = running_runtime()
    unknown = {} if runtime is None else runtime.host.unknown
    return {
        "unknown_orchestrations": [
            {"name": name, "version": version, "runs": number}
            for (name, version), number in sorted(unknown.items())
        ],
        "modules_not_imported": sorted(catalog.not_imported()),
    }


# The parts of this process


def _faults_of_this_process() -> Faults:
    health = waiting_room().health or Health()
    settings = approval_settings()
    every = settings.recheck_interval + 2 * settings.hint_timeout
    return {
        "listener": _silence(health.heard_at, every),
        "deadline_keeper": _silence(health.kept_at, LONGEST_SLEEP),
        "engine": _engine(),
    }


def _silence(at: float | None, every: float) -> Fault:
    if at is None:
        return "does not run"
    silent = monotonic() - at
    return f"silent for {silent:.0f} s" if silent > every + SLACK else None


def _engine() -> Fault:
    runtime = running_runtime()
    if runtime is None:
        return "does not run"
    return None if runtime.host.executes else "may not execute runs"
