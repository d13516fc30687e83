"""What this machine has room for."""

from __future__ import annotations

import resource
from contextlib import suppress

import pytest

from orchestration.benchmark import machine
from orchestration.benchmark.machine import Needs, TooBig


def test_as_many_files_as_the_machine_allows_and_no_more() -> None:
    """Beside those that a process has open anyway."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    with pytest.raises(TooBig, match=r"users: 9 sockets need .* open files, .*`ulimit -n`"):
        Needs(files=files - 99).require("users: 9 sockets")
    assert fits(Needs(files=files - 100))


def fits(needs: Needs) -> bool:
    with suppress(TooBig):
        needs.require("one")
        return True
    return False


def test_more_memory_than_is_free_is_refused() -> None:
    free = machine.free_memory()
    assert free is not None
    with pytest.raises(TooBig, match=r"waiting need .* GB of memory, and .* GB are free here"):
        Needs(memory=2 * free).require("waiting")
    assert fits(Needs(memory=free // 4))


def test_facts_tell_neither_names_nor_paths() -> None:
    facts = machine.facts()
    assert set(facts) == {"system", "processor", "processors", "memory_bytes", "open_files"}
    assert not [value for value in facts.values() if isinstance(value, str) and value.startswith("/")]
