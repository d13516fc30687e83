"""Steps under way, and how no further one begins where a process stops."""

from __future__ import annotations

import asyncio
import contextvars

from orchestration.runs.active_steps import ActiveSteps


async def test_nothing_under_way_is_over_at_once() -> None:
    steps, over = ActiveSteps(), asyncio.Event()
    await steps.admit_step()
    steps.stop_admitting(over.set)
    assert over.is_set()


async def test_it_is_over_with_the_last_step_that_was_under_way() -> None:
    """However many there are at the same time."""
    steps, over = ActiveSteps(), asyncio.Event()
    with steps.track():
        with steps.track():
            steps.stop_admitting(over.set)
        assert not over.is_set()
    assert over.is_set()


async def test_a_further_step_does_not_begin() -> None:
    """It waits to be cancelled: an error would end what is under way beside it."""
    steps = ActiveSteps()

    async def further() -> str:
        await steps.admit_step()
        return "begun"

    with steps.track():
        steps.stop_admitting(lambda: None)
        step_of_others = asyncio.get_running_loop().create_task(further(), context=contextvars.Context())
        await asyncio.sleep(0)
        assert not step_of_others.done()
        assert await further() == "begun", "within a step under way: without it that could not end"
    step_of_others.cancel()
    await asyncio.wait([step_of_others])
