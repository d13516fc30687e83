"""The examples of docs/testing.md about orchestrations, as printed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import ModuleType

import pytest

from orchestration.catalog import registry
from tests.processes import PROJECT

DOCUMENT = (PROJECT / "docs" / "testing.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(# test_refund\.py\n.*?)```", DOCUMENT, re.DOTALL)


@pytest.fixture
def example() -> Iterator[ModuleType]:
    module = ModuleType("documented_refund")
    exec(compile(EXAMPLE, "docs/testing.md", "exec"), module.__dict__)
    yield module
    registry._orchestrations.pop(("refund", 1))


def test_its_tests_pass(example: ModuleType) -> None:
    tests = [test for name, test in vars(example).items() if name.startswith("test_")]
    assert len(tests) == 3
    for test in tests:
        test()


def test_the_error_is_worded_as_printed(example: ModuleType) -> None:
    from orchestration.testing import PeopleMismatch, approve, run_orchestration

    with pytest.raises(PeopleMismatch) as raised:
        run_orchestration(example.refund, {"order": 812}, people=[approve()])
    assert f"```\n{raised.value}\n```" in DOCUMENT
