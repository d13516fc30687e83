"""What this machine has room for."""

from __future__ import annotations

import resource

import pytest

from orchestration.benchmark import machine
from orchestration.benchmark.machine import Needs, TooBig


def test_what_fits_is_allowed() -> None:
    Needs(files=1, memory=1).require("one")


def test_more_files_than_the_machine_allows_are_refused() -> None:
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    with pytest.raises(TooBig, match=r"users: 9 sockets need .* open files, .*`ulimit -n`"):
        Needs(files=files).require("users: 9 sockets")


def test_more_memory_than_is_free_is_refused() -> None:
    free = machine.free_memory()
    assert free is not None
    with pytest.raises(TooBig, match=r"waiting need .* GB of memory, and .* GB are free here"):
        Needs(memory=2 * free).require("waiting")


def test_facts_tell_neither_names_nor_paths() -> None:
    facts = machine.facts()
    assert set(facts) == {"system", "processor", "processors", "memory_bytes", "open_files"}
    assert not [value for value in facts.values() if isinstance(value, str) and value.startswith("/")]
