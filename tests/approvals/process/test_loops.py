"""What belongs to an event loop is made once for it, and never used on another."""

from __future__ import annotations

import asyncio

import pytest

from approvals.process.loops import PerLoop


async def _twice(kept: PerLoop[object]) -> tuple[object, object]:
    return kept(), kept()


def test_a_loop_has_one_value_and_the_next_loop_another() -> None:
    kept = PerLoop(object)
    first, again = asyncio.run(_twice(kept))
    second, _ = asyncio.run(_twice(kept))
    assert first is again
    assert second is not first


def test_without_a_loop_there_is_none() -> None:
    with pytest.raises(RuntimeError):
        PerLoop(object)()
