"""A real server as probes and Prometheus see it: asked until it says what is expected."""

from __future__ import annotations

import time
from typing import Any, TypeAlias

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.patience import patience
from tests.processes import Server

# By name and labels.
Numbers: TypeAlias = dict[tuple[str, frozenset[tuple[str, str]]], float]


def asked(server: Server, path: str, **headers: str) -> httpx.Response:
    """Answered in bounded time, whatever hangs: longer than that is a failure."""
    return httpx.get(server.url + path, headers=headers, timeout=patience(), trust_env=False)


def until_ready(server: Server) -> dict[str, Any]:
    """The checks, once it is."""
    return _until(server, 200)["checks"]  # type: ignore[no-any-return]


def until_unready(server: Server, *names: str) -> dict[str, Any]:
    """The checks, once at least these fail."""
    deadline = time.monotonic() + patience(60.0)
    while True:
        checks: dict[str, Any] = _until(server, 503)["checks"]
        if not any(checks[name]["ok"] for name in names):
            return checks
        assert time.monotonic() < deadline, checks
        server.wait_briefly(0.1)


def numbers(server: Server, **headers: str) -> Numbers:
    """What `/metrics` says, by name and labels."""
    answer = asked(server, "/metrics", **headers)
    assert answer.status_code == 200
    return parsed(answer.text)


def parsed(text: str) -> Numbers:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def labelled(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def _until(server: Server, status: int) -> Any:
    deadline = time.monotonic() + patience(60.0)
    while (answer := asked(server, "/healthz/ready")).status_code != status:
        assert time.monotonic() < deadline, answer.text
        server.wait_briefly(0.1)
    return answer.json()
