"""What a run tells of the machine that it measured on."""

from __future__ import annotations

from orchestration.benchmark.run import machine


def test_facts_tell_neither_names_nor_paths() -> None:
    facts = machine()
    assert set(facts) == {"system", "processor", "processors", "memory_bytes", "open_files"}
    assert not [value for value in facts.values() if isinstance(value, str) and value.startswith("/")]
